"""Rows of deliveries: for an event by the rules, for a message that is sent, for a channel that stands in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from valhalla.features.data.notifications import rules
from valhalla.features.data.notifications.contracts import Channel, Delivery, Item, Rule
from valhalla.features.data.notifications.rules import Plan
from valhalla.kernel.ids import new_id
from valhalla.kit.log import correlation_id
from valhalla.kit.outbox import Event

Row = dict[str, Any]
_MOST_DATA: Final = 32_768


def item_of(event: Event) -> Item:
    """Return an event as it is told."""
    data = dict(event.data)
    size = len(msgspec.json.encode(data))
    if size > _MOST_DATA:
        data = {key: value for key, value in data.items() if not isinstance(value, (dict, list, str))}
        data |= {"truncated": True, "bytes": size}
    severity = rules.severity_of(event.type, event.data)
    title = rules.title_of(event.type, event.subject, event.data)
    return Item(event.type, event.at, severity, title, data, event.subject)


def row(
    channel: str,
    item: Item,
    plan: Plan,
    now: datetime,
    *,
    actor: str,
    rule: Rule | None = None,
    dedup: str | None = None,
    correlation: str | None = None,
    unknown: bool = False,
) -> Row:
    """Return the row of a message to a channel; to an ``unknown`` one it is dead, and can be replayed."""
    return {
        "id": new_id(),
        "channel": channel,
        "rule": None if rule is None else rule.name,
        "status": "dead" if unknown else "pending",
        "type": item.type,
        "severity": item.severity,
        "title": item.title,
        "items": [msgspec.to_builtins(item)],
        "count": 1,
        "bundle": None if unknown else plan.bundle,
        "dedup": dedup,
        "template": None if rule is None else rule.template,
        "fallback": None if rule is None else rule.fallback,
        "path": [],
        "origin": None,
        "due_at": plan.due_at.isoformat(),
        "created_at": now.isoformat(),
        "finished_at": now.isoformat() if unknown else None,
        "error": "there is no such channel" if unknown else None,
        "actor": actor,
        "correlation_id": correlation,
    }


def standing_in(delivery: Delivery, channels: Mapping[str, Channel], now: datetime) -> Row | None:
    """Return the row for the channel that stands in for a delivery's; None if there is none left.

    Whoever was asked already is not asked again, so that two channels cannot hand a message to and fro.
    """
    channel = channels.get(delivery.channel)
    named = [delivery.fallback, None if channel is None else channel.fallback]
    asked = {*delivery.path, delivery.channel}
    target = next((name for name in named if name is not None and name in channels and name not in asked), None)
    if target is None:
        return None
    items: Sequence[Any] = [msgspec.to_builtins(item) for item in delivery.items]
    return {
        "id": new_id(),
        "channel": target,
        "rule": delivery.rule,
        "status": "pending",
        "type": delivery.type,
        "severity": delivery.severity,
        "title": delivery.title,
        "items": items,
        "count": delivery.count,
        "bundle": None,
        # of several processes that find the same channel broken, one message comes
        "dedup": f"fallback:{delivery.id}:{target}",
        "template": None,
        "fallback": delivery.fallback,
        "path": [*delivery.path, delivery.channel],
        "origin": delivery.origin or delivery.id,
        "due_at": now.isoformat(),
        "created_at": now.isoformat(),
        "finished_at": None,
        "error": None,
        "actor": delivery.actor,
        "correlation_id": delivery.correlation_id,
    }


def window_of(rule: Rule, now: datetime) -> datetime | None:
    """Return when the window began in which a rule's rate counts; None if it has no rate."""
    return None if rule.rate is None else now - timedelta(seconds=rules.rate_of(rule.rate)[1])


def example(item: Item, *, channel: str = "example", actor: str = "example") -> Delivery:
    """Return a delivery that is in no queue."""
    return Delivery(
        id=new_id(),
        seq=0,
        channel=channel,
        rule=None,
        status="delivering",
        type=item.type,
        severity=item.severity,
        title=item.title,
        items=(item,),
        count=1,
        template=None,
        fallback=None,
        path=(),
        origin=None,
        fell_back=False,
        attempts=0,
        due_at=item.at,
        created_at=item.at,
        finished_at=None,
        error=None,
        actor=actor,
        correlation_id=correlation_id(),
    )
