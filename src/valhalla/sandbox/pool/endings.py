"""Letting the login of a claimed slot end with its sandbox.

A slot's login was made before anybody knew the sandbox's end, so it has the longest one. It is shortened right after
the claim, together with whatever else was claimed meanwhile, and not before the answer: until then, and if the process
dies in between, the end is up to the reaper alone.
"""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg

from valhalla.kernel.problems import Unavailable
from valhalla.kit.load import Load
from valhalla.kit.log import get_logger
from valhalla.sandbox.slices.postgres.pools import Pools

_log = get_logger("sandbox.pool")
_BATCH: Final = 200
_PATIENCE: Final = 2.0
_ATTEMPTS: Final = 5
_GATHER: Final = 0.05
_END: Final = "SELECT valhalla.end_logins($1)"


class Endings:
    """Collects claimed sandboxes and shortens their logins in the background."""

    def __init__(self, pools: Pools, load: Load) -> None:
        self._pools = pools
        self._load = load
        self._waiting: list[str] = []
        self._worker: asyncio.Task[None] | None = None

    def add(self, sandbox_id: str) -> None:
        """Shorten this sandbox's login soon."""
        self._waiting.append(sandbox_id)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(), name="endings")

    async def now(self, sandbox_id: str) -> None:
        """Let this sandbox's login end when the registry says.

        Raises:
            Unavailable: Postgres cannot be reached.
        """
        await self._end([sandbox_id])

    async def settle(self) -> None:
        """Wait until every login that was added ends with its sandbox."""
        if self._worker is not None:
            await self._worker

    async def _work(self) -> None:
        while self._waiting:
            # a burst of claims goes first, and comes here together
            await asyncio.sleep(_GATHER)
            await self._load.quiet(_PATIENCE)
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            try:
                await self._end(batch)
            except (Unavailable, asyncpg.PostgresError) as error:
                # the sandboxes are claimed: their end is then up to the reaper alone
                _log.warning("logins keep the pool's expiry", sandboxes=len(batch), error=str(error))

    async def _end(self, batch: list[str]) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                async with self._pools.connection() as connection:
                    await connection.fetchval(_END, batch)
            except (asyncpg.InternalServerError, asyncpg.TransactionRollbackError) as error:
                # somebody else alters one of the roles at this moment: the server refuses instead of waiting
                lost = isinstance(error, asyncpg.TransactionRollbackError) or "concurrently" in str(error)
                if not lost or attempt == _ATTEMPTS - 1:
                    raise
                await asyncio.sleep(0.01)
            else:
                return
