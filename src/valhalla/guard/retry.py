"""When another attempt is made and how long to wait before it. Nothing here runs while calls succeed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from valhalla.guard.errors import BadDeclaration, NotDone
from valhalla.kit.retry_after import seconds_of

# raised before anything has left this process
UNSENT: Final[tuple[type[BaseException], ...]] = (NotDone, ConnectionRefusedError)
# what a repeatable action is retried on unless it says otherwise
TRANSIENT: Final[tuple[type[BaseException], ...]] = (*UNSENT, ConnectionError, TimeoutError)

On = tuple[type[BaseException], ...] | type[BaseException] | Callable[[BaseException], bool]


@dataclass(frozen=True, slots=True)
class Retry:
    """``retries`` attempts after the first; pauses are drawn from ``[0, min(cap, base * 2**n)]`` seconds.

    ``wait`` is a tenacity strategy instead. A ``Retry-After`` of more than ``longest`` seconds is not waited for: the
    error ends the call. ``budget`` is the share of first attempts that may be retried, so that a failing provider is
    not met with a multiple of the load that broke it.
    """

    retries: int = 3
    base: float = 0.1
    cap: float = 30.0
    wait: Any = None
    budget: float = 0.1
    longest: float = 300.0

    def __post_init__(self) -> None:
        if self.retries < 0 or self.base <= 0 or self.cap <= 0 or self.budget < 0 or self.longest < 0:
            raise BadDeclaration("retries and longest must not be negative, base and cap must be above zero")

    def pause(self, attempt: int, error: BaseException) -> float | None:
        """Return the seconds to wait after the failed ``attempt`` (1 is the first), ``None`` not to make another.

        ``Retry-After`` wins if longer.
        """
        from tenacity import Future, RetryCallState, wait_random_exponential

        after = retry_after(error) or 0.0
        if after > self.longest:
            return None
        strategy = self.wait or wait_random_exponential(multiplier=self.base, max=self.cap)
        state = RetryCallState(None, None, (), {})  # pyright: ignore[reportArgumentType] - strategies do not look at it
        state.attempt_number = attempt
        # a strategy may look at how the attempt ended
        future = Future(attempt)
        future.set_exception(error)
        state.outcome = future
        return max(float(strategy(state)), after)


def as_retry(retries: int | Retry | None) -> Retry | None:
    """Return what a number of retries, or a ``Retry``, says.

    Raises:
        BadDeclaration: it is neither, or there cannot be so many.
    """
    if retries is not None and not isinstance(retries, (int, Retry)):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        raise BadDeclaration(f"retries is a number or a Retry, not {type(retries).__name__}")
    return Retry(retries) if isinstance(retries, int) else retries


def retry_after(error: BaseException) -> float | None:
    """Return what the other side asked for, in seconds: an attribute, or the header of an HTTP response's error."""
    found = getattr(error, "retry_after", None)
    if found is None:
        headers = getattr(getattr(error, "response", None), "headers", None)
        found = headers.get("Retry-After") if isinstance(headers, Mapping) else None  # pyright: ignore[reportUnknownVariableType,reportUnknownMemberType]
    try:
        seconds = float(found)  # pyright: ignore[reportArgumentType]
    except TypeError:
        return None
    except ValueError:
        return seconds_of(found, datetime.now(UTC)) if isinstance(found, str) else None
    return seconds if seconds >= 0 else None


def matches(error: BaseException, on: On) -> bool:
    """Say whether ``on`` names the error."""
    if isinstance(on, (tuple, type)):
        return isinstance(error, on)
    return bool(on(error))


class Budget:
    """Tokens for retries: each first attempt earns ``ratio`` of one, each retry costs one when it is *decided*.

    ``firsts`` is counted by the callers without a lock; a lost count only makes the budget smaller.
    """

    __slots__ = ("_cap", "_lock", "_ratio", "_seen", "_tokens", "firsts")

    def __init__(self, ratio: float, *, reserve: float = 10.0) -> None:
        """``reserve`` tokens are there at the start and are the most that can be saved up."""
        self.firsts = 0
        self._ratio = ratio
        self._cap = self._tokens = reserve
        self._seen = 0
        self._lock = threading.Lock()

    def spend(self) -> bool:
        """Take one token; ``False`` if there is none."""
        with self._lock:
            firsts = self.firsts
            self._tokens = min(self._cap, self._tokens + self._ratio * (firsts - self._seen))
            self._seen = firsts
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
