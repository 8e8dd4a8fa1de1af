"""What came of attempts, written many at a time with all that follows from it, in one transaction."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.data.notifications import composing, queue, store
from valhalla.features.data.notifications.contracts import Delivery, Outcome, Standing
from valhalla.features.data.notifications.policy import Policy
from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.log import get_logger
from valhalla.kit.outbox import emit_many
from valhalla.kit.waiting import Backoff, first_of

_log = get_logger("notifications")
ACTOR: Final = "notifications"
_MOST: Final = 500
_GATHER: Final = 0.002


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of one attempt; ``news`` of its channel is told with it."""

    delivery: Delivery
    row: dict[str, Any]
    outcome: Outcome
    standing: Standing | None
    news: str | None


@dataclass
class _Batch:
    settled: list[Settled] = field(default_factory=list[Settled])
    back: list[str] = field(default_factory=list[str])


class Settling:
    """Collects and writes. What is not written when a process dies is sent again, under the same id."""

    def __init__(self, db: Database, ledger: Ledger, policy: Policy, *, clock: Clock) -> None:
        self._db = db
        self._ledger = ledger
        self._policy = policy
        self._clock = clock
        self._batch = _Batch()
        self._wake = asyncio.Event()
        self._turns: list[asyncio.Future[None]] = []
        self._is_writing = False
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """Attempts of this process by (kind of channel, outcome)."""
        self.seconds = 0.0

    def reset(self) -> None:
        """Forget what was left before this process led again: others have taken it over since."""
        self._batch = _Batch()
        self._turns = []
        self._is_writing = False

    def put(self, settled: Settled) -> None:
        """Leave what came of an attempt."""
        self._batch.settled.append(settled)
        channel = self._policy.channel(settled.delivery.channel)
        self.outcomes["unknown" if channel is None else channel.kind, settled.outcome] += 1
        self.seconds += settled.row["seconds"]
        self._wake.set()

    def give_back(self, ids: Sequence[str]) -> None:
        """Leave what was taken and not tried."""
        self._batch.back.extend(ids)
        self._wake.set()

    async def written(self) -> None:
        """Wait until everything that was left so far is written."""
        if self._batch.settled or self._batch.back or self._is_writing:
            turn = asyncio.get_running_loop().create_future()
            self._turns.append(turn)
            self._wake.set()
            await turn

    async def run(self, end: asyncio.Event) -> None:
        """Write until ``end`` is set and nothing is left; a lost database is waited for until then."""
        backoff = Backoff(0.2, 5.0)
        while True:
            await first_of(self._wake, end, seconds=1.0)
            if not end.is_set():
                # others are about to finish, too: one transaction serves them all
                await asyncio.sleep(_GATHER)
            self._wake.clear()
            batch, self._batch = self._batch, _Batch()
            turns, self._turns = self._turns, []
            self._is_writing = bool(batch.settled or batch.back)
            if self._is_writing:
                while True:
                    try:
                        await self._store(batch)
                    except Unavailable as problem:
                        _log.warning("what was delivered waits to be written", error=problem.detail)
                        if await first_of(end, seconds=backoff.next()):
                            return
                    else:
                        backoff.reset()
                        break
            self._is_writing = False
            for turn in turns:
                if not turn.done():
                    turn.set_result(None)
            if end.is_set() and not (self._batch.settled or self._batch.back):
                return

    async def _store(self, batch: _Batch) -> None:
        """Write a batch; should one of it be impossible to write, the others are written all the same.

        Raises:
            Unavailable: the database cannot be reached; nothing of what is not written yet is lost.
        """
        try:
            await self._db.run(self._write, batch)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - one bad row must not keep the others from being written
            _log.exception("what was delivered cannot be written together")
            for each in batch.settled:
                await self._store_one(each)
            await self._db.run(self._write, _Batch(back=batch.back))

    async def _store_one(self, settled: Settled) -> None:
        try:
            await self._db.run(self._write, _Batch([settled]))
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - as above
            _log.exception("what came of an attempt cannot be written", delivery=settled.delivery.id)
            # with less to go wrong: that it is told again and again would be worse than what is not noted
            bare = {**settled.row, "error": None, "excerpt": None}
            await self._db.run(queue.settle, [bare])

    def _write(self, conn: Connection, batch: _Batch) -> None:
        now = self._clock.now()
        # the receiver has them: forgotten in a crash of the server, they are sent again under the same id
        durable = any(each.outcome != "delivered" or each.news is not None for each in batch.settled)
        for start in range(0, len(batch.settled), _MOST):
            queue.settle(conn, [each.row for each in batch.settled[start : start + _MOST]], durable=durable)
        if batch.back:
            queue.give_back(conn, batch.back)
        dead = [each for each in batch.settled if each.row["status"] == "dead"]
        channels = {name: record.value for name, record in self._policy.every_channel().items()}
        instead = [
            row
            for each in dead
            if not each.delivery.fell_back and (row := composing.standing_in(each.delivery, channels, now)) is not None
        ]
        store.insert(conn, instead)
        self._note_dead(conn, dead)
        # the newest of each channel
        standings = {each.standing.channel: each.standing for each in batch.settled if each.standing is not None}
        for _, standing in sorted(standings.items()):
            queue.keep_standing(conn, standing, now)
        for each in batch.settled:
            if each.outcome == "gone":
                self._disable(conn, each.delivery.channel)
        emit_many(conn, [self._event(each) for each in batch.settled if each.news is not None])

    def _note_dead(self, conn: Connection, dead: Sequence[Settled]) -> None:
        self._ledger.append_many(
            conn,
            [
                {
                    "actor": ACTOR,
                    "action": "dead",
                    "kind": "delivery",
                    "subject": each.delivery.id,
                    "details": {
                        "channel": each.delivery.channel,
                        "attempts": each.row["number"],
                        "error": each.row["error"],
                    },
                }
                for each in dead
            ],
        )

    def _disable(self, conn: Connection, name: str) -> None:
        """Disable a channel whose other side says that it is gone for good; its messages wait."""
        self._policy.channels.lock(conn)
        record = self._policy.channels.find(conn, name)
        if record is not None and record.value.enabled:
            disabled = msgspec.structs.replace(record.value, enabled=False)
            reason = "the endpoint answered 410 Gone"
            self._policy.channels.put(conn, name, disabled, actor=ACTOR, reason=reason)

    def _event(self, settled: Settled) -> dict[str, Any]:
        name = settled.delivery.channel
        channel = self._policy.channel(name)
        data = {
            "channel": name,
            "kind": None if channel is None else channel.kind,
            "delivery": settled.delivery.id,
            "error": settled.row["error"],
        }
        if settled.standing is not None:
            data |= {"failures": settled.standing.failures, "failing_since": settled.standing.failing_since}
        return {"subject": f"notification.{name.replace('.', '_')}", "type": f"delivery.{settled.news}", "data": data}
