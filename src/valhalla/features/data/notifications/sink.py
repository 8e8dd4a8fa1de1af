"""Domain events as deliveries: by the rules, and by what alerts' subscriptions name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy.engine import Connection

from valhalla.features.data.notifications import composing, rules, store
from valhalla.features.data.notifications.composing import Row
from valhalla.features.data.notifications.contracts import Item, Rule
from valhalla.features.data.notifications.policy import Policy
from valhalla.features.data.notifications.rules import Plan
from valhalla.kernel.clock import Clock
from valhalla.kit.db import Database
from valhalla.kit.outbox import Event

ACTOR: Final = "notifications"


class NotificationSink:
    """Takes every domain event and writes what is to be told of it, once however often the event comes."""

    def __init__(self, db: Database, policy: Policy, *, clock: Clock) -> None:
        self._db = db
        self._policy = policy
        self._clock = clock

    async def deliver(self, events: Sequence[Event]) -> None:
        """Write the deliveries.

        Raises:
            Unavailable: the database cannot be reached; the events are offered again.
        """
        told = [event for event in events if any(True for _ in self._addressed(event, composing.item_of(event)))]
        if told:
            await self._db.run(self._write, told)

    def _write(self, conn: Connection, events: Sequence[Event]) -> None:
        now = self._clock.now()
        fresh = store.remember(conn, [event.id for event in events], now)
        made: Counter[tuple[str, str]] = Counter()
        rows: list[Row] = []
        for event in events:
            if event.id not in fresh:
                continue
            item = composing.item_of(event)
            for channel, rule in self._addressed(event, item):
                unknown = self._policy.channel(channel) is None
                plan = Plan(now) if rule is None else self._plan(conn, rule, channel, item, now, made)
                rows.append(
                    composing.row(
                        channel,
                        item,
                        plan,
                        now,
                        actor=ACTOR,
                        rule=rule,
                        correlation=event.correlation_id,
                        unknown=unknown,
                    )
                )
        store.insert(conn, rows)

    def _plan(
        self, conn: Connection, rule: Rule, channel: str, item: Item, now: datetime, made: Counter[tuple[str, str]]
    ) -> Plan:
        since = composing.window_of(rule, now)
        if since is None:
            return rules.plan(rule, channel, item, now)
        here = (rule.name, channel)
        plan = rules.plan(rule, channel, item, now, store.sent_lately(conn, *here, since) + made[here])
        made[here] += plan.bundle is None
        return plan

    def _addressed(self, event: Event, item: Item) -> Iterator[tuple[str, Rule | None]]:
        """Yield the channels that hear of an event, and the rule that says so."""
        failing = rules.failing_channel(event.type, event.data)
        named: set[str] = set()
        for watcher in self._policy.watchers:
            if not watcher.wants(event.type, item.severity, event.data):
                continue
            for channel in watcher.rule.channels:
                target = channel if channel != failing else self._instead(channel, watcher.rule)
                if target is not None:
                    named.add(target)
                    yield target, watcher.rule
        if event.type.startswith("alert."):
            for channel in dict.fromkeys(self._policy.targets(event.data.get("subscriptions") or ())):
                target = channel if channel != failing else self._instead(channel, None)
                if target is not None and target not in named:
                    yield target, None

    def _instead(self, failing: str, rule: Rule | None) -> str | None:
        """Return who is told that a channel fails, since it cannot be told by itself."""
        channel = self._policy.channel(failing)
        named = (None if rule is None else rule.fallback, None if channel is None else channel.fallback)
        return next((name for name in named if name is not None and name != failing), None)
