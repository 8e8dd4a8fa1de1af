"""Looks once a second whether a schedule is due. Every process has one; the database decides who submits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff, first_of
from valhalla.work.registry import Jobs
from valhalla.work.schedules.service import tick

_log = get_logger("work")


class Ticker:
    """Submits the jobs of due schedules, as long as they are registered in ``jobs``."""

    def __init__(
        self,
        db: Database,
        jobs: Jobs,
        *,
        every: float = 1.0,
        everybodys: bool = False,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """``every`` in seconds is how late a run may begin; ``beat`` is called at each tick that worked.

        ``everybodys``: also the jobs of other programs, as soon as one of their workers has run.
        """
        self._everybodys = everybodys
        self._beat = beat
        self._db = db
        self._jobs = jobs
        self._every = every
        self.last_error: str | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Tick until ``stop`` is set; a lost database is waited for, and what was missed is caught up."""
        backoff = Backoff(0.5, 5.0)
        pause = 0.0
        while not await first_of(stop, seconds=pause):
            try:
                await self._db.run(tick, self._jobs, everybodys=self._everybodys)
            except Exception as error:  # noqa: BLE001 - the timetable outlives whatever one tick meets
                self.last_error = error.detail if isinstance(error, Unavailable) else f"{type(error).__name__}: {error}"
                _log.warning("schedules cannot be looked at", error=self.last_error)
                pause = backoff.next()
            else:
                self.last_error = None
                self._beat()
                backoff.reset()
                pause = self._every
