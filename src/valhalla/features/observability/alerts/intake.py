"""Where code leaves its alerts: a call costs microseconds, never waits, and what it can take is bounded."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from valhalla.features.observability.alerts.contracts import Limits, Raised
from valhalla.features.observability.alerts.grouping import Group, overflow, spill


class Intake:
    """Groups what is raised from any thread until somebody takes it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # held for microseconds and never across I/O
        self._lock = threading.Lock()
        self._groups: dict[str, Group] = {}
        self._spilled: dict[str, Group] = {}
        self.raised = 0
        self.overflowed = 0
        """Counted, but not as themselves: in their source's overflow."""
        self.dropped = 0
        """Not even that: there were too many sources, or it was too late."""
        self._closed = False

    def put(self, one: Raised) -> None:
        """Leave an occurrence or an end."""
        with self._lock:
            self.raised += not one.resolves
            group = self._groups.get(one.fingerprint)
            if group is not None and not self._closed:
                group.add(one)
                return
            self._new(Group.of(one))

    def take(self) -> list[Group]:
        """Return what has come since the last time."""
        if not self._groups and not self._spilled:
            return []
        with self._lock:
            groups, self._groups = self._groups, {}
            spilled, self._spilled = self._spilled, {}
        return [*groups.values(), *spilled.values()]

    def give_back(self, groups: list[Group]) -> None:
        """Keep what could not be written, before what has come meanwhile."""
        with self._lock:
            newer = {**self._groups}
            self._groups = {}
            for group in groups:
                later = newer.pop(group.fingerprint, None)
                if later is not None:
                    group.join(later)
                self._new(group)
            for group in newer.values():
                self._new(group)

    def close(self) -> None:
        """Take nothing any more; what comes is counted as dropped."""
        with self._lock:
            self._closed = True

    def counts(self) -> Mapping[str, int]:
        """Return what happened to what was raised here."""
        return {"raised": self.raised, "overflowed": self.overflowed, "dropped": self.dropped}

    def _new(self, group: Group) -> None:
        limits = self._limits
        if self._closed:
            self.dropped += max(1, group.count)
        elif len(self._groups) < limits.pending:
            self._groups[group.fingerprint] = group
        elif group.count == 0:
            # the end of something has no place among what is merely counted
            self.dropped += 1
        elif group.source in self._spilled or len(self._spilled) < limits.sources:
            self.overflowed += group.count
            into = self._spilled.setdefault(group.source, overflow(group.source, group.severity, group.first_at))
            spill(into, group)
        else:
            self.dropped += group.count
