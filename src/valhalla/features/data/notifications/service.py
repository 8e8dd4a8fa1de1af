"""The use cases of messages that people and programs ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from sqlalchemy.engine import Connection

from valhalla.features.data.notifications import composing, queue, rules, store
from valhalla.features.data.notifications.contracts import LIFECYCLE, Attempt, Delivery, Filter, Item, Rule
from valhalla.features.data.notifications.errors import ChannelDisabled, ChannelNotFound, DeliveryNotFound
from valhalla.features.data.notifications.policy import Policy
from valhalla.features.data.notifications.rules import Plan
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Conflict
from valhalla.kit import paging, redact
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.log import correlation_id

READ: Final = "notifications:read"
WRITE: Final = "notifications:write"
_AT_ONCE: Final = 1000


class NotificationService:
    """Sends, lists and replays."""

    def __init__(self, db: Database, ledger: Ledger, policy: Policy, *, clock: Clock) -> None:
        self._db = db
        self._ledger = ledger
        self._policy = policy
        self._clock = clock

    def notify(
        self, conn: Connection, channel: str, item: Item, *, actor: str, key: str | None = None
    ) -> tuple[str, bool]:
        """Write a message in the transaction of its cause; return its id, and whether it is new under its ``key``.

        Raises:
            ChannelNotFound: there is no such channel.
            ChannelDisabled: it takes nothing now.
        """
        record = self._policy.channels.find(conn, channel)
        if record is None:
            raise ChannelNotFound(f"there is no notification channel {channel[:64]!a}", key=ascii(channel[:64]))
        if not record.value.enabled:
            raise ChannelDisabled(f"the channel '{channel}' is disabled", key=channel)
        now = self._clock.now()
        dedup = None if key is None else "sent:" + sha256(f"{actor}\0{key}".encode()).hexdigest()
        row = composing.row(channel, item, Plan(now), now, actor=actor, dedup=dedup, correlation=correlation_id())
        written = store.insert(conn, [row])
        if written:
            return written[0], True
        before = store.by_dedup(conn, dedup or "")
        assert before is not None
        return before.id, False

    async def send(self, principal: Principal, channel: str, item: Item, *, key: str | None = None) -> Delivery:
        """Send a message; under the same ``key`` of the same sender it is sent once.

        Raises:
            ChannelNotFound, ChannelDisabled: as ``notify``.
        """
        principal.require(WRITE)

        def work(conn: Connection) -> Delivery:
            made, _ = self.notify(conn, channel, _without_secrets(item), actor=principal.id, key=key)
            found = store.find(conn, made)
            assert found is not None
            return found

        return await self._db.run(work)

    async def get(self, principal: Principal, delivery: str) -> tuple[Delivery, list[Attempt]]:
        """Return a delivery with every attempt.

        Raises:
            DeliveryNotFound: none has this id.
        """
        principal.require(READ)
        found = await self._db.read(store.find, delivery)
        if found is None:
            raise DeliveryNotFound(f"no delivery has the id {delivery[:64]!a}")
        return found, await self._db.read(store.tries, delivery)

    async def page(
        self, principal: Principal, wanted: Filter, *, limit: int | None = None, cursor: str | None = None
    ) -> paging.Page[Delivery]:
        """Return deliveries that fit, the newest first.

        Raises:
            Invalid: the cursor was not made here.
        """
        principal.require(READ)
        size = paging.clamp(limit)
        position = paging.decode(cursor)
        before = None if position is None else paging.integer(position, "seq")
        rows = await self._db.read(store.page, wanted, before=before, limit=size + 1)
        items = rows[:size]
        return paging.Page(tuple(items), paging.encode({"seq": items[-1].seq}) if len(rows) > size else None)

    async def replay(self, principal: Principal, delivery: str) -> Delivery:
        """Let a dead delivery begin again, under its id.

        Raises:
            DeliveryNotFound: none has this id.
            IllegalTransition, Conflict: it is not dead.
        """
        principal.require(WRITE)

        def work(conn: Connection) -> Delivery:
            done = self._replay(conn, principal, [delivery])
            if done:
                return done[0]
            found = store.find(conn, delivery)
            if found is None:
                raise DeliveryNotFound(f"no delivery has the id {delivery[:64]!a}")
            LIFECYCLE.check(found.status, "pending")
            raise Conflict(f"the delivery is {found.status}: it is under way", current=found.status)

        return await self._db.run(work)

    async def replay_many(
        self, principal: Principal, wanted: Filter, ids: Sequence[str], *, dry_run: bool
    ) -> tuple[int, list[str]]:
        """Let every dead delivery begin again that fits, oldest first.

        Return how many fitted, and which began again: 1,000 at most.
        """
        principal.require(WRITE)

        def work(conn: Connection) -> tuple[int, list[str]]:
            matched, found = store.dead(conn, wanted, ids, _AT_ONCE)
            if dry_run:
                return matched, found
            return matched, [each.id for each in self._replay(conn, principal, found)]

        return await self._db.run(work)

    def route(self, kind: str, item: Item) -> list[tuple[str, Rule, Plan]]:
        """Return what the rules make of an event, without regard to what a rate has left."""
        now = self._clock.now()
        return [
            (channel, watcher.rule, rules.plan(watcher.rule, channel, item, now))
            for watcher in self._policy.watchers
            if watcher.wants(kind, item.severity, item.data)
            for channel in watcher.rule.channels
        ]

    async def prune(self, kept: timedelta, remembered: timedelta) -> int:
        """Remove what ended long ago, end what has waited as long, forget old events; return how many were removed."""
        now = self._clock.now()
        await self._db.run(store.forget, now - remembered)
        await self._db.run(queue.expire, now - kept, now)
        removed = 0
        while removed < 100_000:
            here = await self._db.run(store.prune, now - kept, 1000)
            removed += here
            if here < 1000:
                break
        return removed

    def _replay(self, conn: Connection, principal: Principal, ids: Sequence[str]) -> list[Delivery]:
        done = store.replay(conn, ids, self._clock.now())
        self._ledger.append_many(
            conn,
            [
                {
                    "actor": principal.id,
                    "action": "replayed",
                    "kind": "delivery",
                    "subject": each.id,
                    "details": {"channel": each.channel, "from": "dead", "to": "pending"},
                }
                for each in done
            ],
        )
        return done


def _without_secrets(item: Item) -> Item:
    data: Mapping[str, Any] = redact.redact(item.data)
    title = rules.line(redact.text(item.title, limit=500))
    body = None if not item.body else redact.text(item.body, limit=10_000)
    return Item(item.type, item.at, item.severity, title, dict(data), item.subject, body)
