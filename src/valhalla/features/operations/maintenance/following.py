"""The mode as a process without a control plane follows it: what the events have said last, read from the database."""

from __future__ import annotations

import asyncio
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from valhalla.features.operations.maintenance.records import KEY, TOLD
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.log import get_logger
from valhalla.kit.registry.tables import records
from valhalla.kit.waiting import first_of

_EVERY: Final = 2.0
_log = get_logger("maintenance")


def told_mode(conn: Connection) -> str:
    """Return the mode that was told last; ``normal`` if none ever was."""
    mode = records.c.body["mode"].astext
    query = sa.select(mode).where(records.c.registry == TOLD, records.c.key == KEY)
    return conn.execute(query).scalar_one_or_none() or "normal"


class ModeWatch:
    """Looks every two seconds; while the database is away, what was read last holds on."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.mode = "normal"

    @property
    def is_closed(self) -> bool:
        """Whether writes are closed."""
        return self.mode != "normal"

    async def run(self, stop: asyncio.Event) -> None:
        """Look until ``stop`` is set."""
        while not stop.is_set():
            try:
                mode = await self._db.read(told_mode)
            except Unavailable:
                mode = self.mode
            if mode != self.mode:
                _log.info("jobs wait for the end of maintenance" if mode != "normal" else "jobs go on", mode=mode)
                self.mode = mode
            await first_of(stop, seconds=_EVERY)
