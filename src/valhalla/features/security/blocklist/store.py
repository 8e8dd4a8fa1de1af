"""The SQL statements of the blocklist beside those of its registry: what the index needs of rules, and hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.engine import Connection

from valhalla.features.security.blocklist.contracts import FOREVER, REGISTRY, Action, RuleType
from valhalla.features.security.blocklist.tables import blocklist_hits
from valhalla.kit.registry.tables import changes, heads, records


class Line(NamedTuple):
    """One rule as the index needs it; ``until`` in seconds since the epoch, None for one that is gone."""

    mark: Any
    """Its key, or the revision of the change."""
    action: Action
    type: RuleType
    value: str
    until: int | None


class Hit(NamedTuple):
    """How often a rule refused a request, and when it last did."""

    key: str
    hits: int
    last_at: datetime


def _members(body: Any) -> tuple[sa.ColumnElement[Any], ...]:
    instant = sa.cast(body["expires_at"].astext, sa.DateTime(timezone=True))
    seconds = sa.cast(sa.func.extract("epoch", instant), sa.BigInteger)
    until = sa.func.coalesce(seconds, sa.literal(FOREVER, sa.BigInteger))
    return body["action"].astext, body["type"].astext, body["value"].astext, until


_PAGE = (
    sa.select(records.c.key, *_members(records.c.body))
    .where(records.c.registry == REGISTRY, records.c.key > sa.bindparam("after"))
    .order_by(records.c.key)
    .limit(sa.bindparam("most"))
)
_BODY: Any = sa.func.coalesce(changes.c.after, changes.c.before, type_=changes.c.after.type)
_WHAT = _members(_BODY)
_SINCE = (
    sa.select(changes.c.revision, *_WHAT[:3], sa.case((changes.c.op == "put", _WHAT[3])))
    .where(changes.c.registry == REGISTRY, changes.c.revision > sa.bindparam("after"))
    .order_by(changes.c.revision)
    .limit(sa.bindparam("most"))
)


def head(conn: Connection) -> int:
    """Return the revision of the newest change."""
    return conn.scalar(sa.select(heads.c.revision).where(heads.c.name == REGISTRY)) or 0


def page(conn: Connection, after: str, most: int) -> list[Line]:
    """Return rules in the order of their keys."""
    return [Line(*row) for row in conn.execute(_PAGE, {"after": after, "most": most})]


def since(conn: Connection, after: int, most: int) -> list[Line]:
    """Return what changed after a revision, oldest first."""
    return [Line(*row) for row in conn.execute(_SINCE, {"after": after, "most": most})]


def expired(conn: Connection, now: datetime, most: int) -> list[str]:
    """Return the keys of rules that do not hold any more."""
    # as text: that is what the index has, and the form of all of them is one
    instant = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    expiry = records.c.body["expires_at"].astext
    query = sa.select(records.c.key).where(records.c.registry == REGISTRY, expiry.is_not(None), expiry <= instant)
    return list(conn.scalars(query.order_by(expiry).limit(most)))


def add_hits(conn: Connection, rows: Sequence[tuple[str, int, datetime]]) -> None:
    """Add to the counts; in the order of keys, so that processes do not wait for each other in a circle."""
    upsert = pg_insert(blocklist_hits)
    upsert = upsert.on_conflict_do_update(
        index_elements=["key"],
        set_={
            "hits": blocklist_hits.c.hits + upsert.excluded.hits,
            "last_at": sa.func.greatest(blocklist_hits.c.last_at, upsert.excluded.last_at),
        },
    )
    conn.execute(upsert, [{"key": key, "hits": hits, "last_at": at} for key, hits, at in sorted(rows)])


def hits_since(conn: Connection, since: datetime, most: int) -> list[Hit]:
    """Return the rules that were hit since, the last first."""
    query = sa.select(blocklist_hits).where(blocklist_hits.c.last_at > since)
    rows = conn.execute(query.order_by(blocklist_hits.c.last_at.desc()).limit(most))
    return [Hit(row.key, row.hits, row.last_at.astimezone(UTC)) for row in rows]


def top(conn: Connection, most: int) -> list[Hit]:
    """Return the rules that refused most."""
    query = sa.select(blocklist_hits).order_by(blocklist_hits.c.hits.desc(), blocklist_hits.c.key).limit(most)
    return [Hit(row.key, row.hits, row.last_at.astimezone(UTC)) for row in conn.execute(query)]


def counts(conn: Connection) -> Mapping[str, int]:
    """Return how many rules there are of each type, those that allow under ``allow``."""
    kind = sa.case((records.c.key.startswith("allow:"), "allow"), else_=sa.func.split_part(records.c.key, ":", 1))
    query = sa.select(kind, sa.func.count()).where(records.c.registry == REGISTRY).group_by(kind)
    return {row[0]: row[1] for row in conn.execute(query)}


def drop_hits(conn: Connection, before: datetime) -> int:
    """Remove counts of rules that are gone and were not hit for long."""
    gone = ~sa.exists().where(records.c.registry == REGISTRY, records.c.key == blocklist_hits.c.key)
    return conn.execute(sa.delete(blocklist_hits).where(blocklist_hits.c.last_at < before, gone)).rowcount


def standing(conn: Connection, keys: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """Return the bodies of those of the rules that there are."""
    query = sa.select(records.c.key, records.c.body).where(records.c.registry == REGISTRY, records.c.key.in_(keys))
    return {row[0]: row[1] for row in conn.execute(query)}


def keys_of(conn: Connection, source: str, after: str, most: int) -> list[str]:
    """Return the keys of a source's rules, in their order."""
    mine = records.c.body["source"].astext == source
    query = sa.select(records.c.key).where(records.c.registry == REGISTRY, records.c.key > after, mine)
    return list(conn.scalars(query.order_by(records.c.key).limit(most)))
