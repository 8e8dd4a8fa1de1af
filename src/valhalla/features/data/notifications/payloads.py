"""What is sent: the body of a webhook, and the text that people read. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from valhalla.features.data.notifications.contracts import Delivery, Item
from valhalla.kernel.clock import isoformat
from valhalla.kit.json import dumps, dumps_text

MOST: Final = 20_000
"""Bytes of a body, as Standard Webhooks recommends."""
_SHOWN: Final = 20
_PLAIN: Final = 200
_INNER: Final = frozenset({"title", "subscriptions", "silenced_by", "traceparent"})


def standard(delivery: Delivery) -> bytes:
    """Return ``{type, timestamp, data}``; what stands for several things has them in ``data.items``."""
    first = delivery.items[0]
    if delivery.count == 1:
        kind, data = first.type, _data(first)
    else:
        kind = first.type if len({item.type for item in delivery.items}) == 1 else "notification.digest"
        data = {
            "title": delivery.title,
            "severity": delivery.severity,
            "count": delivery.count,
            "items": [_member(item) for item in delivery.items],
        }
    body = dumps({"type": kind, "timestamp": isoformat(first.at), "data": data})
    if len(body) <= MOST:
        return body
    slim = {"title": delivery.title, "severity": delivery.severity, "count": delivery.count, "truncated": True}
    if delivery.count == 1:
        slim |= _plain(first.data)
    return dumps({"type": kind, "timestamp": isoformat(first.at), "data": slim})


def alertmanager(delivery: Delivery, external_url: str) -> bytes:
    """Return what Alertmanager's webhook receivers take (version 4)."""
    alerts = [_alert(item) for item in delivery.items]
    firing = any(each["status"] == "firing" for each in alerts)
    labels = _common([each["labels"] for each in alerts])
    return dumps(
        {
            "version": "4",
            "groupKey": f'{{}}:{{channel="{delivery.channel}"}}:{delivery.rule or ""}',
            "truncatedAlerts": max(0, delivery.count - len(alerts)),
            "status": "firing" if firing else "resolved",
            "receiver": delivery.channel,
            "groupLabels": labels,
            "commonLabels": labels,
            "commonAnnotations": _common([each["annotations"] for each in alerts]),
            "externalURL": external_url,
            "alerts": alerts,
        }
    )


def subject(delivery: Delivery) -> str:
    """Return the one line of a message."""
    more = f" (+{delivery.count - 1} more)" if delivery.count > 1 else ""
    return f"[{delivery.severity.upper()}] {delivery.title}{more}"


def text(delivery: Delivery) -> str:
    """Return a message that people read, without a template."""
    parts = [_paragraph(item) for item in delivery.items[:_SHOWN]]
    if delivery.count > len(parts):
        parts.append(f"… and {delivery.count - len(parts)} more")
    return "\n\n".join(parts)


def context(delivery: Delivery) -> dict[str, Any]:
    """Return what templates can name."""
    events = [_member(item) for item in delivery.items]
    return {
        "id": delivery.id,
        "channel": delivery.channel,
        "rule": delivery.rule,
        "type": delivery.type,
        "severity": delivery.severity,
        "title": delivery.title,
        "count": delivery.count,
        "event": events[0],
        "events": events,
        "text": text(delivery),
    }


def _data(item: Item) -> dict[str, Any]:
    return {**({"body": item.body} if item.body is not None else {}), "title": item.title, **item.data}


def _member(item: Item) -> dict[str, Any]:
    return {
        "type": item.type,
        "at": isoformat(item.at),
        "severity": item.severity,
        "title": item.title,
        "subject": item.subject,
        "body": item.body,
        "data": item.data,
    }


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    short = {key: value for key, value in data.items() if not isinstance(value, (dict, list))}
    return {key: value[:_PLAIN] if isinstance(value, str) else value for key, value in list(short.items())[:30]}


def _paragraph(item: Item) -> str:
    lines = [f"{item.title}", f"{item.type} · {item.severity} · {isoformat(item.at)}"]
    if item.body is not None:
        lines += ["", item.body]
    for key, value in item.data.items():
        if key in _INNER or value in (None, "", [], {}):
            continue
        shown = value if isinstance(value, (str, int, float)) else dumps_text(value)
        lines.append(f"{key}: {str(shown)[:_PLAIN]}")
    return "\n".join(lines)


def _alert(item: Item) -> dict[str, Any]:
    data = item.data
    over = item.type == "alert.resolved" or data.get("status") == "resolved"
    labels: dict[str, str] = {"alertname": str(data.get("name") or item.type), "severity": item.severity}
    extra: Any = data.get("labels")
    if isinstance(extra, dict):
        labels |= {str(key): str(value) for key, value in extra.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if data.get("source"):
        labels["source"] = str(data["source"])
    return {
        "status": "resolved" if over else "firing",
        "labels": labels,
        "annotations": {"summary": item.title, **({} if item.body is None else {"description": item.body})},
        "startsAt": str(data.get("opened_at") or isoformat(item.at)),
        "endsAt": isoformat(item.at) if over else "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": str(data.get("fingerprint") or item.subject),
    }


def _common(every: Sequence[dict[str, str]]) -> dict[str, str]:
    first, *others = every
    return {key: value for key, value in first.items() if all(each.get(key) == value for each in others)}
