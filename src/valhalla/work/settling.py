"""Outcomes on their way to the database: those that end together are written together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff
from valhalla.work.contracts import Ended
from valhalla.work.turn import give_back

_log = get_logger("work")
_BATCH: Final = 500


class Settling:
    """Writes outcomes until the last one is written."""

    def __init__(self, db: Database, worker: UUID) -> None:
        self._db = db
        self._worker = worker
        self._waiting: list[tuple[Ended, Callable[[], None]]] = []
        self._wake = asyncio.Event()
        self.written = 0
        """How many outcomes are in the database, or were refused there."""

    def add(self, ended: Ended, then: Callable[[], None]) -> None:
        """Write ``ended`` soon and call ``then`` when it is written, or was refused."""
        self._waiting.append((ended, then))
        self._wake.set()

    async def run(self, finished: asyncio.Event) -> None:
        """Write until ``finished`` is set and nothing waits."""
        closing = asyncio.create_task(self._wake_at(finished))
        try:
            while self._waiting or not finished.is_set():
                if not self._waiting:
                    await self._wake.wait()
                    self._wake.clear()
                    # what ended in the same turn of the loop goes along
                    await asyncio.sleep(0)
                    continue
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                await self._write([ended for ended, _ in batch])
                self.written += len(batch)
                for _, then in batch:
                    then()
        finally:
            closing.cancel()

    async def _wake_at(self, finished: asyncio.Event) -> None:
        await finished.wait()
        self._wake.set()

    async def _write(self, batch: Sequence[Ended]) -> None:
        backoff = Backoff(0.1, 2.0)
        while True:
            try:
                taken = await self._db.run(give_back, self._worker, batch)
            except Unavailable as problem:
                # kept until it can be said: whoever took a job over meanwhile makes the fence refuse it
                _log.warning("outcomes of jobs wait for the database", count=len(batch), error=problem.detail)
            except Exception as error:  # noqa: BLE001 - one bad outcome must not hold up the others
                if len(batch) > 1:
                    _log.warning("outcomes are written one by one", count=len(batch), error=str(error)[:500])
                    for one in batch:
                        await self._write([one])
                    return
                _log.error("the outcome of a job cannot be written", job=batch[0].id, error=str(error))
                batch = [_unwritable(batch[0], error)]
            else:
                for one in batch:
                    if one.id not in taken:
                        _log.warning("a late outcome is refused: another worker has the job", job=one.id)
                return
            await asyncio.sleep(backoff.next())


def _unwritable(ended: Ended, error: Exception) -> Ended:
    detail = f"its outcome ({ended.status}) could not be stored: {type(error).__name__}"
    return Ended(
        id=ended.id,
        generation=ended.generation,
        status="dead",
        error={"code": "outcome-not-storable", "detail": detail},
        effect="unknown",
    )
