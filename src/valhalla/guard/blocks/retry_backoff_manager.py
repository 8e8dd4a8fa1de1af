"""``RetryBackoffManager``: the guard's retries for one call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

from valhalla.guard.blocks.journal import Journal, shown
from valhalla.guard.guard import Guard
from valhalla.guard.retry import On, Retry
from valhalla.kernel.problems import Invalid

# a second attempt at a programming error meets the same error
_OURS: Final = (TypeError, AttributeError, NameError, NotImplementedError, AssertionError, ImportError, SyntaxError)
# one call after the other, each with its own allowance: nothing is shared that a budget could protect
_NO_BUDGET: Final = 1e9


class RetryBackoffManager:
    """Retries with exponential backoff; jitter never exceeds the cap, and ``Retry-After`` is honoured."""

    def __init__(
        self, max_retries: int = 3, base_delay: float = 1.0, max_delay: float = 60.0, *, guard: Guard | None = None
    ) -> None:
        """Delays are in seconds.

        Raises:
            Invalid: a number is negative, or a delay zero.
        """
        self.max_retries, self.base_delay, self.max_delay = max_retries, base_delay, max_delay
        _check(max_retries, base_delay, max_delay)
        self._guard = guard or Guard()
        self._journal = Journal()

    def execute_with_retry(
        self,
        func: Callable[..., Any],
        task_name: str,
        *args: Any,
        backoff_multiplier: float = 2.0,
        jitter: bool = True,
        max_retries: int | None = None,
        retry_on: On | None = None,
        deadline: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call ``func`` up to ``max_retries`` + 1 times and return its value (an awaitable of it, if it is async).

        ``retry_on`` names the errors after which another attempt is made; without it any but a programming error.
        ``deadline`` is the most seconds that all attempts and pauses may take. Repeating is safe for what can be done
        twice; a payment belongs under ``guard.action`` with a key.

        Raises:
            Exception: what the last attempt raised.
            Invalid: a number is out of range.
        """
        retries = self.max_retries if max_retries is None else max_retries
        _check(retries, self.base_delay, self.max_delay, backoff_multiplier)
        attempts = 0

        @contextmanager
        def noted() -> Generator[list[Any]]:
            nonlocal attempts
            attempts += 1
            results: list[Any] = []
            try:
                yield results
            except BaseException as error:
                name = type(error).__name__
                self._journal.add(task_name, attempt=attempts, status="failed", error=shown(str(error)), kind=name)
                raise
            self._journal.add(task_name, attempt=attempts, status="success", result=shown(results[0])[:100])

        def attempt() -> Any:
            with noted() as results:
                results.append(func(*args, **kwargs))
            return results[0]

        async def aattempt() -> Any:
            with noted() as results:
                results.append(await func(*args, **kwargs))
            return results[0]

        # most of what a small program would import
        from tenacity import wait_exponential, wait_random_exponential

        strategy = wait_random_exponential if jitter else wait_exponential
        wait = strategy(multiplier=self.base_delay, max=self.max_delay, exp_base=backoff_multiplier)
        is_async = inspect.iscoroutinefunction(func)
        run = self._guard.arun if is_async else self._guard.run
        return run(
            "retry",
            aattempt if is_async else attempt,
            effect="idempotent",
            heartbeat=False,
            retries=Retry(retries, base=self.base_delay, cap=self.max_delay, wait=wait, budget=_NO_BUDGET),
            retry_on=_any_but_ours if retry_on is None else retry_on,
            deadline=deadline,
        )

    def stop(self) -> None:
        """End every pause now: the call that waits raises its last error. Later calls do not pause."""
        self._guard.stop.set()

    def get_retry_log(self, task_name: str | None = None) -> Any:
        """Return a task's attempts, or those of every task by name."""
        return self._journal.everything() if task_name is None else self._journal.read(task_name)


def _any_but_ours(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, _OURS)


def _check(retries: int, *seconds: float) -> None:
    if retries < 0 or not all(value > 0 for value in seconds):
        raise Invalid("retries must not be negative; delays and the multiplier must be above zero")
