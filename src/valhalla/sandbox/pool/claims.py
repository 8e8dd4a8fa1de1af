"""Claiming slots: whoever waits at the same time shares one statement and one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, cast

import asyncpg

from valhalla.kit.json import dumps_text
from valhalla.sandbox.contracts import Spec
from valhalla.sandbox.marking import stored
from valhalla.sandbox.pool.stock import Slot
from valhalla.sandbox.slices.postgres.pools import Pools

BATCH: Final = 64
SENDERS: Final = 2
"""Commits under way at a time: one is on the server while the answers of the other are written."""

# seconds until a server that says nothing is taken for one that is away
_PATIENCE: Final = 10.0
_CLAIM: Final = "SELECT ord, outcome, detail FROM valhalla.claim_slots($1::jsonb, $2)"

Verdict = Literal["claimed", "owner-limit", "name-taken", "route-taken", "key-used", "slot-gone", "raced"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One request: the slot, what the sandbox will be, and the ledger entries and events that go with it."""

    slot: Slot
    process: str
    name: str
    spec: Spec
    created_by: str
    created_at: datetime
    expires_at: datetime
    key: str | None
    fingerprint: bytes
    ledger: Sequence[Mapping[str, Any]]
    events: Sequence[Mapping[str, Any]]

    def document(self, ord_: int) -> dict[str, Any]:
        """Return what the database function reads."""
        spec = self.spec
        return {
            "ord": ord_,
            "id": self.slot.names.id,
            "process": self.process,
            "name": self.name,
            "owner": spec.owner,
            "description": spec.description,
            "tags": list(spec.tags),
            "metadata": dict(spec.metadata),
            "routes": [[route.kind, route.key] for route in spec.routes],
            "created_by": self.created_by,
            # microseconds are kept: what the ledger signs must be what is stored
            "created_at": self.created_at.isoformat(),
            "expires_at": self.expires_at.isoformat(),
            "key": self.key,
            "fingerprint": self.fingerprint.hex(),
            "ledger": [stored(entry) for entry in self.ledger],
            "events": [stored(event) for event in self.events],
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one claim ended; ``raced`` means that another transaction won a name, route or key at the same moment."""

    verdict: Verdict
    detail: str | None = None


class Claims:
    """Collects claims while commits are under way and sends them together with the next one."""

    def __init__(self, pools: Pools, *, owner_limit: int) -> None:
        self._pools = pools
        self._limit = owner_limit
        self._waiting: list[tuple[Claim, asyncio.Future[Outcome]]] = []
        self._senders: set[asyncio.Task[None]] = set()

    async def submit(self, claim: Claim) -> Outcome:
        """Claim durably; when this returns ``claimed``, the commit is on disk.

        Raises:
            Unavailable: Postgres cannot be reached; whether the claim was committed is unknown.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((claim, future))
        if len(self._senders) < SENDERS:
            sender = asyncio.create_task(self._send())
            self._senders.add(sender)
        return await future

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                await self._settle(batch)
        finally:
            # at once, not when the loop gets to it: a claim that comes in between must find that nobody sends
            self._senders.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _settle(self, batch: Sequence[tuple[Claim, asyncio.Future[Outcome]]]) -> None:
        try:
            outcomes = await self._commit([claim for claim, _ in batch])
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if not future.done():
                future.set_result(outcome)

    async def _commit(self, claims: Sequence[Claim]) -> list[Outcome]:
        documents = dumps_text([claim.document(index) for index, claim in enumerate(claims)])
        try:
            async with self._pools.connection() as connection:
                rows = await connection.fetch(_CLAIM, documents, self._limit, timeout=_PATIENCE)
        except (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError):
            # a transaction outside this batch took a name, route or key meanwhile, or waits for one of ours while we
            # wait for one of its; none of the batch is committed
            if len(claims) == 1:
                return [Outcome("raced")]
            return [(await self._commit([claim]))[0] for claim in claims]
        outcomes = {row["ord"]: Outcome(row["outcome"], row["detail"]) for row in rows}
        return [outcomes[index] for index in range(len(claims))]
