"""What holds now, kept until it can change: the one who is asked before every write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from valhalla.features.operations.maintenance import passing, rules
from valhalla.features.operations.maintenance.contracts import Occurrence, Standing, State, Told, Window
from valhalla.features.operations.maintenance.errors import ReadOnly
from valhalla.features.operations.maintenance.records import KEY, STATE, TOLD, WINDOWS
from valhalla.features.operations.maintenance.recurrence import Walk
from valhalla.features.operations.maintenance.rules import Timetable
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem
from valhalla.kit.changes import Feed, Snapshot
from valhalla.kit.http import WhileClosed
from valhalla.kit.writing import admit

HEADER: Final = b"valhalla-maintenance"
# a feed that has been deaf for so long may have missed that somebody closed writes
_DEAF: Final = 30.0
_UNSURE: Final = timedelta(seconds=1)


class Keeper:
    """Reads the snapshots and the clock; it is the gate's shield and what closes the database."""

    def __init__(self, feed: Feed, *, clock: Clock, notice: timedelta) -> None:
        """``feed`` follows the registries. ``notice``: how long before a window every answer names it."""
        self._feed = feed
        self._clock = clock
        self._notice = notice
        self._kept: Standing | None = None
        self._walks: dict[tuple[Window, datetime], Walk] = {}
        # those that were there before anything was read: while they are, nothing is known
        self._unread = {name: feed.snapshot(name) for name in (STATE, WINDOWS)}
        self._state = feed.view(STATE, self._stated)
        self._windows = feed.view(WINDOWS, self._planned)
        self.declared: Callable[[str, str], WhileClosed | None] = lambda _method, _path: None
        """Returns what the route of a method and path declares; put in place by who knows the routes."""
        self._told = feed.view(TOLD, lambda snapshot: _value(snapshot) or Told())

    @property
    def state(self) -> State:
        """What an operator has set last."""
        return self._state.value or rules.NORMAL

    @property
    def told(self) -> Told:
        """What the events have said last, as this process has heard."""
        return self._told.value

    def timetable(self, state: State | None = None) -> Timetable:
        """Return everything that decides, with another state if one is given."""
        return Timetable(self._state.value if state is None else state, self._windows.value, self._notice)

    def walks(self) -> Sequence[Walk]:
        """Return the windows that are enabled."""
        return self._windows.value

    def upcoming(self, now: datetime, most: int, within: timedelta) -> list[Occurrence]:
        """Return the next occurrences of all windows, those under way included."""
        return self.timetable().occurrences(now, now + within)[:most]

    def now(self) -> Standing:
        """Return what holds. Who asks again before that can change gets the same, for two comparisons."""
        at, kept = self._clock.now(), self._kept
        if kept is None or not kept.valid_from <= at < kept.valid_until or self._feed.stale_for is not None:
            kept = self._kept = self._look(at)
        return kept

    @property
    def notices(self) -> Sequence[tuple[bytes, bytes]]:
        """The header that names what is planned or holds; usually none."""
        notice = self.now().notice
        return () if notice is None else ((HEADER, notice),)

    def refuse(self, method: str, path: str, query: bytes, principal: Principal | None) -> Problem | None:
        """Return why a request may not pass, and let the database know what one that passes may do."""
        standing = self.now()
        if standing.mode == "normal":
            return None
        verdict = passing.judge(method, query, principal, self.declared(method, path))
        admit(writing=verdict == "write")
        return self._refusal(standing) if verdict == "refuse" else None

    def closed(self) -> Problem | None:
        """Return why nobody may write now, ``None`` while everybody may."""
        standing = self.now()
        return None if standing.mode == "normal" else self._refusal(standing)

    def _refusal(self, standing: Standing) -> Problem:
        return ReadOnly(standing.mode, standing.reason, standing.until, self._clock.now())

    def _look(self, at: datetime) -> Standing:
        if (why := self._unsure()) is not None:
            return rules.unknown(at, why, _UNSURE)
        return self.timetable().standing(at)

    def _unsure(self) -> str | None:
        for name, unread in self._unread.items():
            if self._feed.snapshot(name) is unread:
                return "the state of maintenance has not been read yet"
            if self._feed.fault(name) is not None:
                return "the state of maintenance cannot be read by this release"
        deaf = self._feed.stale_for
        return None if deaf is None or deaf < _DEAF else "this process does not hear whether writes were closed"

    def _stated(self, snapshot: Snapshot[State]) -> State | None:
        self._kept = None
        return _value(snapshot)

    def _planned(self, snapshot: Snapshot[Window]) -> Sequence[Walk]:
        self._kept = None
        # those that did not change remember how far they have come
        values = [(record.value, record.updated_at) for record in snapshot.records.values() if record.value.enabled]
        self._walks = {each: self._walks.get(each) or Walk(*each) for each in values}
        return tuple(self._walks.values())


def _value(snapshot: Snapshot[Any]) -> Any:
    records: Mapping[str, Any] = snapshot.records
    record = records.get(KEY)
    return None if record is None else record.value
