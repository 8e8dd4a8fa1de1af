"""Maintenance as another application keeps it: who reads passes, and who may write on through it by name."""

from __future__ import annotations

from collections.abc import Sequence

from valhalla.features.operations.maintenance.contracts import Standing
from valhalla.features.operations.maintenance.errors import ReadOnly
from valhalla.features.operations.maintenance.passing import READING, bypasses
from valhalla.features.operations.maintenance.rules import Timetable
from valhalla.features.operations.maintenance.standing import HEADER
from valhalla.gate.contracts import Header
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem


class Closing:
    """One timetable; what holds is computed when it can have changed."""

    __slots__ = ("_clock", "_kept", "_timetable")

    def __init__(self, timetable: Timetable, clock: Clock) -> None:
        self._timetable = timetable
        self._clock = clock
        self._kept: Standing | None = None

    def now(self) -> Standing:
        """Return what holds."""
        at, kept = self._clock.now(), self._kept
        if kept is None or not kept.valid_from <= at < kept.valid_until:
            kept = self._kept = self._timetable.standing(at)
        return kept

    @property
    def notices(self) -> Sequence[Header]:
        """The header that names what is planned or holds; usually none."""
        notice = self.now().notice
        return () if notice is None else ((HEADER, notice),)

    def refuse(self, method: str, principal: Principal | None) -> Problem | None:
        """Return why a request may not pass."""
        standing = self.now()
        if standing.mode == "normal" or method in READING or bypasses(principal):
            return None
        return ReadOnly(standing.mode, standing.reason, standing.until, self._clock.now())
