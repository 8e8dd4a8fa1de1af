"""RetryBackoffManager: what fails for a moment is tried again; a mistake in the program is not."""

from valhalla import RetryBackoffManager


def main() -> None:
    """Tell the story."""
    retry = RetryBackoffManager(max_retries=3, base_delay=0.01)
    answers = iter([ConnectionError("busy"), ConnectionError("busy"), "42 rows"])

    def fetch() -> object:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    print(retry.execute_with_retry(fetch, "fetch"), "after", len(retry.get_retry_log("fetch")), "attempts")
    try:
        retry.execute_with_retry(lambda: len(7), "mistake")  # type: ignore[arg-type]
    except TypeError:
        print("a mistake is tried", len(retry.get_retry_log("mistake")), "time")


if __name__ == "__main__":
    main()
