"""``GovernorEnforcer``: how often each resource may be used."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal

from valhalla.guard.governor import Governor, Limit
from valhalla.kernel.clock import isoformat

_VIOLATIONS: Final = 1000


class GovernorEnforcer:
    """One exact limit per resource: no window of it ever sees more. A resource without one is denied."""

    def __init__(self, *, unknown: Literal["deny", "allow"] = "deny", clock: Callable[[], float] | None = None) -> None:
        """``unknown`` says what becomes of a resource that has no limit; ``clock`` returns seconds."""
        self.governor = Governor(unknown=unknown) if clock is None else Governor(unknown=unknown, clock=clock)
        self._violations: deque[dict[str, Any]] = deque(maxlen=_VIOLATIONS)
        self._limits: dict[str, Limit] = {}
        self._denied: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def violation_log(self) -> list[dict[str, Any]]:
        """The newest denials, oldest first, as a copy."""
        with self._lock:
            return [dict(violation) for violation in self._violations]

    def set_limit(self, resource: str, max_actions: int, window_seconds: float = 3600) -> None:
        """Allow ``max_actions`` in any ``window_seconds``; what was used and denied before still counts.

        Raises:
            BadLimit: a number is zero, negative or absurd.
        """
        limit = Limit(capacity=max_actions, window=window_seconds, name="limit")
        with self._lock:
            self.governor.set_limit(resource, limit)
            self._limits[resource] = limit

    def check_limit(self, resource: str, subject: str = "", cost: int = 1) -> tuple[bool, str]:
        """Take one action of the resource; say whether it is allowed, and why."""
        decision = self.governor.take(resource, subject, cost)
        if decision.allowed:
            return True, "Action allowed" if resource in self._limits else "No limit configured"
        return False, self.note_denial(resource, subject)

    def note_denial(self, resource: str, subject: str = "") -> str:
        """Write down that the governor refused an action of the resource, and return why."""
        limit = self._limits.get(resource)
        used = 0 if limit is None else self._used(resource, subject, limit)
        most = 0 if limit is None else limit.capacity
        with self._lock:
            # a name that nobody configured is counted as one: callers can make up any number of them
            self._denied[resource if limit is not None else ""] += 1
            self._violations.append(
                {
                    "timestamp": isoformat(datetime.now(UTC)),
                    "resource": resource[:100],
                    "action_count": used,
                    "max_allowed": most,
                }
            )
        if limit is None:
            return f"No limit configured for '{resource}': unknown resources are denied"
        return f"Rate limit exceeded for '{resource}': {used}/{most} actions"

    def retry_after(self, resource: str, subject: str = "", cost: int = 1) -> float | None:
        """Return the seconds until an action would be allowed, 0.0 for now, ``None`` for never; takes nothing."""
        return self.governor.peek(resource, subject, cost).retry_after

    def refund(self, resource: str, subject: str = "", cost: int = 1) -> None:
        """Give back an action that was just taken and did not happen."""
        self.governor.refund(resource, subject, cost)

    def get_status(self, resource: str | None = None, subject: str = "") -> dict[str, Any]:
        """Return a resource's use now (``{}`` if it has no limit), or that of all resources by name."""
        if resource is None:
            return {name: self._status(name, subject, limit) for name, limit in list(self._limits.items())}
        limit = self._limits.get(resource)
        if limit is None:
            return {}
        return {"resource": resource, "window_seconds": limit.window, **self._status(resource, subject, limit)}

    def _status(self, resource: str, subject: str, limit: Limit) -> dict[str, Any]:
        return {
            "current_actions": self._used(resource, subject, limit),
            "max_actions": limit.capacity,
            "denied_count": self._denied[resource],
        }

    def _used(self, resource: str, subject: str, limit: Limit) -> int:
        ((_, remaining, _),) = self.governor.peek(resource, subject).policies
        return limit.capacity - remaining
