"""Telling an owner that a sandbox nears a quota, before it is ended: once for each quota in the sandbox's life."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy.engine import Connection

from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.log import get_logger
from valhalla.sandbox import store
from valhalla.sandbox.quota.contracts import Excess
from valhalla.sandbox.teardown import emit

_log = get_logger("sandbox.quota")
_ACTOR: Final = "watchdog"
ACTION: Final = "quota_warning"


class Warnings:
    """Writes the warning's event and ledger entry; the ledger remembers, for every process, what was told."""

    def __init__(self, db: Database, ledger: Ledger) -> None:
        self._db = db
        self._ledger = ledger
        self._told: set[tuple[str, str]] = set()

    async def tell(self, near: Sequence[Excess]) -> list[Excess]:
        """Tell of sandboxes that hold much; return those that were told of for the first time.

        Raises:
            Unavailable: the registry cannot be reached.
        """
        # what is not near any more, or gone, need not be remembered here: the ledger is asked again
        self._told &= {(excess.sandbox_id, excess.what) for excess in near}
        new: list[Excess] = []
        for excess in near:
            if (excess.sandbox_id, excess.what) in self._told:
                continue
            if await self._db.run(self._write, excess):
                new.append(excess)
                _log.info("a sandbox nears its quota", sandbox_id=excess.sandbox_id, **excess.told())
            self._told.add((excess.sandbox_id, excess.what))
        return new

    def _write(self, conn: Connection, excess: Excess) -> bool:
        # under the row's lock: of two processes that look at once, one tells
        sandbox = store.lock(conn, excess.sandbox_id)
        if sandbox is None or sandbox.status != "running":
            return False
        before = self._ledger.page(conn, kind="sandbox", subject=sandbox.id, action=ACTION)
        if any(entry.details.get("what") == excess.what for entry in before.items):
            return False
        self._ledger.append(
            conn, actor=_ACTOR, action=ACTION, kind="sandbox", subject=sandbox.id, details=excess.told()
        )
        emit(conn, sandbox, f"sandbox.{ACTION}", **excess.told())
        return True
