"""Every SQL statement of the registries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.engine import Connection, RowMapping

from valhalla.kit.registry.contracts import Change, Search
from valhalla.kit.registry.tables import changes, heads, records

CHANNEL: Final = "valhalla_changes"

# What every edit and every look runs is made once: to build a statement and its cache key takes longer than to run it.
_HEAD: Final = sa.select(heads.c.revision).where(heads.c.name == sa.bindparam("registry"))
_LOCK: Final = _HEAD.with_for_update()
_HEADS: Final = sa.select(heads.c.name, heads.c.revision).where(
    heads.c.name.in_(sa.bindparam("registries", expanding=True))
)
_ADVANCE: Final = (
    sa.update(heads)
    .where(heads.c.name == sa.bindparam("registry"))
    .values(revision=sa.bindparam("head"))
    .returning(sa.func.pg_notify(CHANNEL, sa.bindparam("payload", type_=sa.Text)))
)
_FIND: Final = sa.select(records).where(
    records.c.registry == sa.bindparam("wanted"), records.c.key.in_(sa.bindparam("keys", expanding=True))
)
_SINCE: Final = (
    sa.select(changes)
    .where(changes.c.registry == sa.bindparam("wanted"), changes.c.revision > sa.bindparam("after_revision"))
    .order_by(changes.c.revision)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_HISTORY: Final = sa.insert(changes).inline()


def _upsert() -> Any:
    insert = pg_insert(records)
    replaced = {column: insert.excluded[column] for column in ("version", "body", "created_at", "updated_at")}
    return insert.on_conflict_do_update(index_elements=["registry", "key"], set_=replaced)


_UPSERT: Final = _upsert()


def lock(conn: Connection, name: str) -> int:
    """Become the only writer of a registry until the transaction ends; return its revision.

    The lock is held to the commit, so revisions are committed in their order and without gaps.
    """
    revision = conn.scalar(_LOCK, {"registry": name})
    if revision is None:
        conn.execute(pg_insert(heads).values(name=name, revision=0).on_conflict_do_nothing())
        revision = conn.scalar(_LOCK, {"registry": name})
    assert revision is not None
    return revision


def revision(conn: Connection, name: str) -> int:
    """Return a registry's revision, 0 for one never written."""
    return conn.scalar(_HEAD, {"registry": name}) or 0


def revisions(conn: Connection, names: Sequence[str]) -> Mapping[str, int]:
    """Return several registries' revisions."""
    return {row.name: row.revision for row in conn.execute(_HEADS, {"registries": list(names)})}


def advance(conn: Connection, name: str, to: int) -> None:
    """Set the revision and tell every process, at commit."""
    conn.execute(_ADVANCE, {"registry": name, "head": to, "payload": f"{name}:{to}"})


def find(conn: Connection, name: str, keys: Iterable[str]) -> Sequence[RowMapping]:
    """Return the records with one of the keys."""
    return conn.execute(_FIND, {"wanted": name, "keys": list(keys)}).mappings().all()


def load(conn: Connection, name: str) -> tuple[int, Sequence[RowMapping]]:
    """Return the revision and all records of that revision, in one statement and so of one moment."""
    head = sa.select(heads.c.revision).where(heads.c.name == name).scalar_subquery()
    query = sa.select(head.label("head"), records).select_from(
        sa.select(sa.literal(1)).subquery("one").join(records, records.c.registry == name, isouter=True)
    )
    rows = conn.execute(query).mappings().all()
    return rows[0]["head"] or 0, [row for row in rows if row["key"] is not None]


def page(
    conn: Connection,
    name: str,
    *,
    after: str | None,
    limit: int,
    where: Mapping[str, Any],
    search: Search | None,
) -> Sequence[RowMapping]:
    """Return records in the order of their keys whose bodies have the given members."""
    query = sa.select(records).where(*_wanted(name, where, search)).order_by(records.c.key).limit(limit)
    if after is not None:
        query = query.where(records.c.key > after)
    return conn.execute(query).mappings().all()


def count(conn: Connection, name: str, *, where: Mapping[str, Any], search: Search | None, most: int) -> int:
    """Count such records, up to ``most``: a large registry is not gone through for a number nobody reads."""
    some = sa.select(sa.literal(1)).select_from(records).where(*_wanted(name, where, search)).limit(most).subquery()
    return conn.scalar(sa.select(sa.func.count()).select_from(some)) or 0


def _wanted(name: str, where: Mapping[str, Any], search: Search | None) -> list[sa.ColumnElement[bool]]:
    wanted = [records.c.registry == name]
    if where:
        wanted.append(records.c.body.contains(dict(where)))
    if search is not None:
        texts = [records.c.key.collate("default"), *(records.c.body[member].astext for member in search.members)]
        wanted.append(sa.or_(*(text.icontains(search.text, autoescape=True) for text in texts)))
    return wanted


def write(conn: Connection, edits: Sequence[Change], final: Mapping[str, Change], created: Mapping[str, Any]) -> None:
    """Write history rows for all edits, and each key's ``final`` state."""
    name = edits[0].registry
    conn.execute(_HISTORY, [_history(edit) for edit in edits])
    gone = [key for key, edit in final.items() if edit.after is None]
    if gone:
        conn.execute(sa.delete(records).where(records.c.registry == name, records.c.key.in_(gone)))
    kept = [
        {
            "registry": name,
            "key": key,
            "version": edit.revision,
            "body": edit.after,
            "created_at": created.get(key, edit.at),
            "updated_at": edit.at,
        }
        for key, edit in final.items()
        if edit.after is not None
    ]
    if kept:
        conn.execute(_UPSERT, kept)


def _history(edit: Change) -> dict[str, Any]:
    return {
        "registry": edit.registry,
        "revision": edit.revision,
        "op": edit.op,
        "key": edit.key,
        "before": edit.before,
        "after": edit.after,
        "actor": edit.actor,
        "reason": edit.reason,
        "at": edit.at,
        "correlation_id": edit.correlation_id,
    }


def history(conn: Connection, name: str, *, key: str | None, before: int | None, limit: int) -> Sequence[RowMapping]:
    """Return changes, newest first."""
    query = sa.select(changes).where(changes.c.registry == name)
    if key is not None:
        query = query.where(changes.c.key == key)
    if before is not None:
        query = query.where(changes.c.revision < before)
    return conn.execute(query.order_by(changes.c.revision.desc()).limit(limit)).mappings().all()


def since(conn: Connection, name: str, after: int, limit: int) -> Sequence[RowMapping]:
    """Return changes newer than a revision, oldest first."""
    return conn.execute(_SINCE, {"wanted": name, "after_revision": after, "most": limit}).mappings().all()


def oldest(conn: Connection, name: str) -> int | None:
    """Return the first revision whose change is still kept."""
    return conn.scalar(sa.select(sa.func.min(changes.c.revision)).where(changes.c.registry == name))


def between(conn: Connection, name: str, low: int, high: int, key: str | None) -> Sequence[tuple[str, Any, Any]]:
    """Return (key, body at ``low``, body at ``high``) of every key (or the one) that was written in between."""
    one = [] if key is None else [changes.c.key == key]
    span = (
        sa.select(
            changes.c.key, sa.func.min(changes.c.revision).label("first"), sa.func.max(changes.c.revision).label("last")
        )
        .where(changes.c.registry == name, changes.c.revision > low, changes.c.revision <= high, *one)
        .group_by(changes.c.key)
    ).subquery()
    first, last = changes.alias(), changes.alias()
    query = (
        sa.select(span.c.key, first.c.before, last.c.after)
        .join(first, sa.and_(first.c.registry == name, first.c.revision == span.c.first))
        .join(last, sa.and_(last.c.registry == name, last.c.revision == span.c.last))
        .order_by(span.c.key)
    )
    return [(row[0], row[1], row[2]) for row in conn.execute(query)]
