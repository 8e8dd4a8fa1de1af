"""Keeping the catalogs of busy arenas small, in the background and one at a time."""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg

from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Unavailable
from valhalla.kit.log import get_logger
from valhalla.sandbox.slices.postgres import PostgresSlice
from valhalla.sandbox.slices.postgres.catalogs import LEAST, Bloat, bloated, vacuum

_log = get_logger("sandbox.upkeep")


class Upkeep:
    """Vacuums catalogs; several processes may run one each, and none waits for another."""

    def __init__(self, postgres: PostgresSlice, *, clock: Clock | None = None, least: int = LEAST) -> None:
        """``least``: dead rows below which a catalog is left alone."""
        self._postgres = postgres
        self._clock = clock or Clock()
        self._least = least
        self._task: asyncio.Task[None] | None = None
        self.vacuums = 0
        self.seconds = 0.0
        self.dead = 0
        """Dead rows in the catalogs that were found worth a vacuum the last time."""

    def nudge(self) -> None:
        """Begin a round unless one is under way: a vacuum may take longer than the reaper's pause."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._round(), name="upkeep")

    async def stop(self) -> None:
        """Call off the round under way."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _round(self) -> None:
        try:
            await self.once()
        except Unavailable as problem:
            _log.info("catalogs are vacuumed later", reason=problem.detail)
        except Exception:  # noqa: BLE001 - a round that fails is repeated by the reaper's next run
            _log.exception("vacuuming the catalogs failed")

    async def once(self) -> list[Bloat]:
        """Vacuum what is worth it, worst first; return what was vacuumed.

        Raises:
            Unavailable: the server cannot be reached.
        """
        pools = self._postgres.pools
        found = await bloated(pools, pools.control_database, shared=True, least=self._least)
        for arena in await self._postgres.arenas.list():
            with contextlib.suppress(asyncpg.InvalidCatalogNameError):
                found += await bloated(pools, arena, shared=False, least=self._least)
        self.dead = sum(each.dead for each in found)
        done: list[Bloat] = []
        for each in sorted(found, key=lambda each: -each.dead):
            started = self._clock.monotonic()
            try:
                await vacuum(pools, each)
            except asyncpg.PostgresError as error:
                # an arena may be dropped meanwhile
                _log.info("a catalog was not vacuumed", database=each.database, table=each.table, reason=str(error))
                continue
            self.vacuums += 1
            self.seconds += self._clock.monotonic() - started
            done.append(each)
        return done
