"""The retry manager keeps what Batch 1's own tests assert, and not what it got wrong."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from valhalla import RetryBackoffManager
from valhalla.kernel.problems import Invalid


class TestRetryBackoffManager:
    """Attempts, pauses, ends."""

    def test_what_the_original_promised(self) -> None:
        manager = RetryBackoffManager(max_retries=2, base_delay=0.001)
        answers = iter([RuntimeError("once"), "fine"])

        def work() -> str:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        assert manager.execute_with_retry(work, "work") == "fine"
        assert [e["status"] for e in manager.get_retry_log("work")] == ["failed", "success"]
        calls: list[int] = []
        with pytest.raises(RuntimeError, match="always"):
            manager.execute_with_retry(_always(calls, RuntimeError("always")), task_name="broken")
        assert len(calls) == 3
        assert set(manager.get_retry_log()) == {"work", "broken"}

    def test_a_programming_error_is_not_repeated(self) -> None:
        calls: list[int] = []
        with pytest.raises(TypeError):
            RetryBackoffManager(base_delay=0.001).execute_with_retry(_always(calls, TypeError("bug")), "bug")
        assert len(calls) == 1

    def test_per_call_settings(self) -> None:
        manager = RetryBackoffManager(base_delay=0.001)
        calls: list[int] = []
        with pytest.raises(OSError, match="x"):
            manager.execute_with_retry(_always(calls, OSError("x")), "io", max_retries=1, jitter=False)
        assert len(calls) == 2
        calls.clear()
        with pytest.raises(OSError, match="x"):
            manager.execute_with_retry(_always(calls, OSError("x")), "io", retry_on=ValueError)
        assert len(calls) == 1
        assert manager.execute_with_retry(lambda a, *, b: (a, b), "args", 1, b=2) == (1, 2)

    @pytest.mark.parametrize("wrong", [{"max_retries": -1}, {"base_delay": 0}, {"max_delay": -1}])
    def test_numbers_that_make_no_sense(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(Invalid):
            RetryBackoffManager(**wrong)
        with pytest.raises(Invalid):
            RetryBackoffManager().execute_with_retry(print, "x", max_retries=-1)

    def test_jitter_stays_below_the_cap(self) -> None:
        """2,000 pauses of a late attempt."""
        from tenacity import wait_random_exponential

        from valhalla.guard.retry import Retry

        retry = Retry(base=1, cap=60, wait=wait_random_exponential(multiplier=1, max=60, exp_base=2))
        pauses = [retry.pause(12, OSError()) for _ in range(2000)]
        assert max(pauses) <= 60
        assert min(pauses) < 10

    def test_a_pause_can_be_ended(self) -> None:
        manager = RetryBackoffManager(base_delay=60, max_delay=60)
        failed = threading.Event()

        def fail() -> None:
            failed.set()
            raise OSError("down")

        def stop() -> None:
            failed.wait(5)
            manager.stop()

        threading.Thread(target=stop).start()
        with pytest.raises(OSError, match="down"):
            manager.execute_with_retry(fail, "down", jitter=False)

    def test_a_deadline_ends_the_attempts(self) -> None:
        calls: list[int] = []
        with pytest.raises(OSError, match="x"):
            RetryBackoffManager(max_retries=1000, base_delay=0.05, max_delay=0.05).execute_with_retry(
                _always(calls, OSError("x")), "io", jitter=False, deadline=0.6
            )
        assert 2 <= len(calls) < 20

    def test_secrets_stay_out_of_the_log(self) -> None:
        manager = RetryBackoffManager()
        manager.execute_with_retry(lambda: {"token": "abc123"}, "login")
        assert "abc123" not in str(manager.get_retry_log())


def _always(calls: list[int], error: Exception) -> Any:
    def fail() -> None:
        calls.append(1)
        raise error

    return fail
