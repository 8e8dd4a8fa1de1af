"""The SQL statements of CrowdSec's API: decisions out of the blocklist's registry, bouncers and agents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.security.blocklist.contracts import FOREVER, REGISTRY, RuleType
from valhalla.features.security.crowdsec.rules import Row
from valhalla.features.security.crowdsec.tables import bouncers, crowdsec_alerts, watchers
from valhalla.kit.registry.tables import changes, records


def _row(number: Any, key: Any, body: Any) -> tuple[Any, ...]:
    instant = sa.cast(body["expires_at"].astext, sa.DateTime(timezone=True))
    seconds = sa.cast(sa.func.extract("epoch", instant), sa.BigInteger)
    texts = (body[name].astext for name in ("type", "value", "source", "reason", "remediation"))
    return number, key, *texts, sa.func.coalesce(seconds, sa.literal(FOREVER, sa.BigInteger))


_RECORD = _row(records.c.version, records.c.key, records.c.body)
_OF_RULES = (
    sa.select(*_RECORD)
    .where(records.c.registry == REGISTRY, records.c.key > sa.bindparam("after"), records.c.key < sa.bindparam("end"))
    .order_by(records.c.key)
    .limit(sa.bindparam("most"))
)
_IS_BLOCK = ~changes.c.key.startswith("allow:")
_WINDOW = (
    changes.c.registry == REGISTRY,
    changes.c.revision > sa.bindparam("after"),
    changes.c.revision <= sa.bindparam("head"),
)
# what was written in a window and still is as it was written then: each rule once
_NEW = (
    sa.select(*_RECORD)
    .select_from(
        changes.join(
            records,
            sa.and_(
                records.c.registry == changes.c.registry,
                records.c.key == changes.c.key,
                records.c.version == changes.c.revision,
            ),
        )
    )
    .where(*_WINDOW, _IS_BLOCK)
    .order_by(changes.c.revision)
    .limit(sa.bindparam("most"))
)
_later = changes.alias("later")
_earlier = changes.alias("earlier")
_BEFORE = (
    sa.select(sa.func.max(_earlier.c.revision))
    .where(_earlier.c.registry == REGISTRY, _earlier.c.key == changes.c.key, _earlier.c.revision < changes.c.revision)
    .scalar_subquery()
)
_LAST = ~sa.exists().where(
    _later.c.registry == REGISTRY,
    _later.c.key == changes.c.key,
    _later.c.revision > changes.c.revision,
    _later.c.revision <= sa.bindparam("head"),
)
# what is gone at the end of a window, and what bouncers shall now treat otherwise
_GONE = (
    sa.select(changes.c.revision, *_row(sa.func.coalesce(_BEFORE, 0), changes.c.key, changes.c.before))
    .where(
        *_WINDOW,
        _IS_BLOCK,
        changes.c.before.is_not(None),
        sa.or_(
            sa.and_(changes.c.op == "delete", _LAST),
            sa.and_(
                changes.c.op == "put",
                changes.c.before["remediation"].astext != changes.c.after["remediation"].astext,
            ),
        ),
    )
    .order_by(changes.c.revision)
    .limit(sa.bindparam("most"))
)


def rules_of(conn: Connection, kind: RuleType, after: str, most: int) -> list[Row]:
    """Return rules of a type that block, in the order of their keys."""
    found = conn.execute(_OF_RULES, {"after": after or f"{kind}:", "end": f"{kind};", "most": most})
    return [Row(*row) for row in found]


def rules_at(conn: Connection, keys: Iterable[str]) -> list[Row]:
    """Return the rules with these keys, those that there are."""
    query = sa.select(*_RECORD).where(records.c.registry == REGISTRY, records.c.key.in_(list(keys)))
    return [Row(*row) for row in conn.execute(query.order_by(records.c.version))]


def key_of(conn: Connection, number: int) -> str | None:
    """Return the key of the rule that a decision's number names."""
    query = sa.select(records.c.key).join(
        changes, sa.and_(changes.c.registry == records.c.registry, changes.c.key == records.c.key)
    )
    mine = (records.c.registry == REGISTRY, changes.c.revision == number, records.c.version == number)
    return conn.scalar(query.where(*mine))


def new_in(conn: Connection, after: int, head: int, most: int) -> list[Row]:
    """Return rules that were written after a revision, up to ``head``, and are still so."""
    return [Row(*row) for row in conn.execute(_NEW, {"after": after, "head": head, "most": most})]


def gone_in(conn: Connection, after: int, head: int, most: int) -> list[tuple[int, Row]]:
    """Return rules that ended in a window, with the revision at which they did."""
    found = conn.execute(_GONE, {"after": after, "head": head, "most": most})
    return [(row[0], Row(*row[1:])) for row in map(tuple, found)]


def allowed_in(conn: Connection, after: int, head: int) -> list[tuple[RuleType, str]]:
    """Return type and value of what was allowed, or no longer, in a window."""
    body: Any = sa.func.coalesce(changes.c.after, changes.c.before, type_=changes.c.after.type)
    query = sa.select(body["type"].astext, body["value"].astext).where(*_WINDOW, changes.c.key.startswith("allow:"))
    return [(row[0], row[1]) for row in conn.execute(query.distinct(), {"after": after, "head": head})]


def is_kept(conn: Connection, after: int, head: int) -> bool:
    """Say whether history tells what came right after a revision."""
    query = sa.select(sa.literal(1)).where(changes.c.registry == REGISTRY, changes.c.revision == after + 1)
    return after == head or conn.scalar(query) is not None


def cursor_of(conn: Connection, client_id: str, address: str) -> int | None:
    """Return what a bouncer has been told."""
    query = sa.select(bouncers.c.cursor).where(bouncers.c.client_id == client_id, bouncers.c.address == address)
    return conn.scalar(query)


def note_pulls(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write what bouncers have been told; never backwards, unless ``reset`` says that it began again."""
    for reset in (False, True):
        some = [{k: v for k, v in row.items() if k != "reset"} for row in rows if row["reset"] is reset]
        if not some:
            continue
        upsert = pg_insert(bouncers)
        new = upsert.excluded
        cursor = new.cursor if reset else sa.func.greatest(bouncers.c.cursor, new.cursor)
        later = sa.func.greatest(bouncers.c.last_pull_at, new.last_pull_at)
        conn.execute(
            upsert.on_conflict_do_update(
                index_elements=["client_id", "address"],
                set_={"cursor": cursor, "agent": new.agent, "last_pull_at": later},
            ),
            some,
        )


def list_bouncers(conn: Connection) -> Sequence[RowMapping]:
    """Return the bouncers that have ever pulled, the last first."""
    return conn.execute(sa.select(bouncers).order_by(bouncers.c.last_pull_at.desc()).limit(1000)).mappings().all()


def list_watchers(conn: Connection) -> Sequence[RowMapping]:
    """Return the agents that have ever logged in, the last first."""
    return conn.execute(sa.select(watchers).order_by(watchers.c.logged_in_at.desc()).limit(1000)).mappings().all()


def note_login(conn: Connection, row: Mapping[str, Any]) -> None:
    """Write that an agent logged in."""
    upsert = pg_insert(watchers).values(**row)
    members = ("scenarios", "agent", "address", "logged_in_at")
    replaced = {name: upsert.excluded[name] for name in members}
    conn.execute(upsert.on_conflict_do_update(index_elements=["client_id", "machine_id"], set_=replaced))


def note_heartbeat(conn: Connection, client_id: str, machine_id: str, at: datetime) -> None:
    """Write that an agent lives."""
    mine = (watchers.c.client_id == client_id, watchers.c.machine_id == machine_id)
    conn.execute(sa.update(watchers).where(*mine).values(heartbeat_at=at))


def note_usage(conn: Connection, client_id: str, machine_id: str | None, address: str, usage: Any) -> None:
    """Keep the last metrics of an agent, or of a bouncer."""
    if machine_id is not None:
        mine = (watchers.c.client_id == client_id, watchers.c.machine_id == machine_id)
        conn.execute(sa.update(watchers).where(*mine).values(usage=usage))
        return
    mine = (bouncers.c.client_id == client_id, bouncers.c.address == address)
    conn.execute(sa.update(bouncers).where(*mine).values(usage=usage))


def prune(conn: Connection, before: datetime) -> int:
    """Remove alerts that are older, and bouncers that did not pull since."""
    conn.execute(sa.delete(bouncers).where(bouncers.c.last_pull_at < before))
    return conn.execute(sa.delete(crowdsec_alerts).where(crowdsec_alerts.c.created_at < before)).rowcount


def allowed(conn: Connection, most: int) -> Sequence[RowMapping]:
    """Return what is allowed of addresses."""
    body = records.c.body
    query = sa.select(
        body["value"].astext.label("value"),
        body["reason"].astext.label("reason"),
        body["expires_at"].astext.label("expires_at"),
        records.c.created_at,
    ).where(
        records.c.registry == REGISTRY,
        records.c.key > "allow:",
        records.c.key < "allow;",
        body["type"].astext.in_(("ip", "cidr")),
    )
    return conn.execute(query.order_by(records.c.key).limit(most)).mappings().all()
