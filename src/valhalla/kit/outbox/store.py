"""Every SQL statement of the outbox."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection, RowMapping

from valhalla.kernel.ids import new_id
from valhalla.kit import trace
from valhalla.kit.advisory import EVENT_SUBJECT
from valhalla.kit.log import correlation_id as current_correlation
from valhalla.kit.outbox.events import Event
from valhalla.kit.outbox.tables import events
from valhalla.kit.redact import redact

CHANNEL: Final = "valhalla_events"
_SUBJECT: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
# Held to the commit: whoever writes the later event of a subject gets the higher id and commits later, so reading by
# id is reading in order. One order of locking, so that two transactions cannot wait for each other here.
_LOCK: Final = sa.text(
    "SELECT pg_advisory_xact_lock(:class, h), pg_notify(:channel, '') FROM"
    " (SELECT DISTINCT hashtext(s) AS h FROM unnest(:subjects) AS s ORDER BY h) AS locks"
).bindparams(sa.bindparam("class", type_=sa.Integer), sa.bindparam("subjects", type_=ARRAY(sa.Text)))

_INSERT: Final = sa.insert(events).inline()
_IDS: Final = ARRAY(sa.BigInteger)
_UNSENT: Final = (
    sa.select(events)
    .where(events.c.sent_at.is_(None), events.c.id != sa.all_(sa.bindparam("taken", type_=_IDS)))
    .order_by(events.c.id)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_SENT: Final = (
    sa.update(events)
    .where(events.c.id == sa.any_(sa.bindparam("ids", type_=_IDS)))
    .values(sent_at=sa.func.clock_timestamp())
)


def emit(
    conn: Connection,
    *,
    subject: str,
    type: str,  # noqa: A002 - the member's name on the wire
    data: Mapping[str, Any],
    correlation_id: str | None = None,
) -> None:
    """Write an event in the transaction of its cause. Others wait to emit about the same subject until it ends.

    ``subject`` is dotted (``sandbox.<id>``); ``data`` is redacted. For several subjects in one transaction use
    ``emit_many``.

    Raises:
        ValueError: the subject is not made of tokens of letters, digits, ``_`` and ``-``.
    """
    emit_many(conn, [{"subject": subject, "type": type, "data": data, "correlation_id": correlation_id}])


def emit_many(conn: Connection, items: Iterable[Mapping[str, Any]]) -> None:
    """Write several events, in order; each item has the keyword arguments of ``emit``.

    Raises:
        ValueError: a subject's form is wrong.
    """
    now = datetime.now(UTC)
    rows = [compose(item, now) for item in items]
    if not rows:
        return
    subjects = [row["subject"] for row in rows]
    conn.execute(_LOCK, {"class": EVENT_SUBJECT, "channel": CHANNEL, "subjects": subjects})
    conn.execute(_INSERT, rows)


def compose(item: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return an event's row, for a statement that writes it together with its cause.

    Raises:
        ValueError: the subject's form is wrong.
    """
    if _SUBJECT.fullmatch(item["subject"]) is None:
        raise ValueError(f"not an event subject: {item['subject']!r}")
    return {
        "uid": new_id(),
        "subject": item["subject"],
        "type": item["type"],
        "data": redact(item["data"]),
        "correlation_id": item.get("correlation_id") or current_correlation(),
        "traceparent": None if (here := trace.current()) is None else trace.render(here),
        "at": now,
    }


def unsent(conn: Connection, *, taken: Sequence[int], limit: int) -> list[Event]:
    """Return the oldest unsent events except the ``taken`` ones."""
    return [_event(row) for row in conn.execute(_UNSENT, {"taken": list(taken), "most": limit}).mappings()]


def mark_sent(conn: Connection, ids: Sequence[int]) -> None:
    """Note that every sink took these events."""
    conn.execute(_SENT, {"ids": list(ids)})


def backlog(conn: Connection) -> tuple[int, datetime | None]:
    """Return how many events wait, and since when."""
    row = conn.execute(sa.select(sa.func.count(), sa.func.min(events.c.at)).where(events.c.sent_at.is_(None))).one()
    return row[0], row[1]


def _event(row: RowMapping) -> Event:
    return Event(
        id=row["id"],
        uid=row["uid"],
        subject=row["subject"],
        type=row["type"],
        data=row["data"],
        correlation_id=row["correlation_id"],
        at=row["at"].astimezone(UTC),
        traceparent=row["traceparent"],
    )
