"""What the governor answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from valhalla.guard.errors import LimitExceeded
from valhalla.guard.governor.errors import NeverPossible, UnknownResource
from valhalla.kernel.problems import Problem

Policies = tuple[tuple[str, int, float], ...]
"""``(name, units remaining, seconds until full again)`` of every limit, shadows left out."""

Why = Literal["allowed", "limited", "never", "unknown"]


def _none() -> Policies:
    return ()


class Decision:
    """Whether one call may happen now.

    ``retry_after`` is 0.0 if it may, the seconds after which it may if nobody else takes anything, and ``None`` if
    waiting does not help. ``limit`` names the limit that refused (of several the one that takes longest). ``at`` is the
    instant on the governor's clock, for ``refund``. ``shadowed`` names shadow limits that would have refused.
    """

    __slots__ = ("_policies", "allowed", "at", "limit", "retry_after", "shadowed", "why")

    def __init__(
        self,
        why: Why,
        at: float | None,
        policies: Callable[[], Policies] | Policies = _none,
        retry_after: float | None = 0.0,
        limit: str | None = None,
        shadowed: tuple[str, ...] = (),
    ) -> None:
        """``policies`` may be a function: it is called when they are first read."""
        self.allowed: Final[bool] = why == "allowed"
        self.why: Final[Why] = why
        self.at: Final = at
        self.retry_after: Final = retry_after
        self.limit: Final = limit
        self.shadowed: Final = shadowed
        self._policies = policies

    @property
    def policies(self) -> Policies:
        """The limits' state when this is first read; for the header fields see ``headers``."""
        if callable(self._policies):
            self._policies = self._policies()
        return self._policies

    def problem(self) -> Problem:
        """Return the refusal as an exception to raise."""
        if self.why == "unknown":
            return UnknownResource()
        if self.why == "never":
            return NeverPossible(f"this costs more than the limit '{self.limit}' ever allows", limit=self.limit)
        refusal = LimitExceeded(f"the limit '{self.limit}' is reached", retry_after=self.retry_after, limit=self.limit)
        refusal.policies = self.policies
        return refusal

    def __repr__(self) -> str:
        return f"Decision({self.why!r}, retry_after={self.retry_after!r}, limit={self.limit!r})"
