"""GovernorEnforcer: no window ever sees more than its limit; what nobody configured is denied."""

from valhalla import GovernorEnforcer


def main() -> None:
    """Tell the story."""
    governor = GovernorEnforcer()
    governor.set_limit("refund", max_actions=2, window_seconds=3600)
    for _ in range(3):
        print(governor.check_limit("refund"))
    governor.set_limit("refund", max_actions=3, window_seconds=3600)
    print("raised by one:", governor.check_limit("refund")[0], governor.check_limit("refund")[0])
    print(governor.check_limit("refnud")[1])


if __name__ == "__main__":
    main()
