"""Rows in SQLite: columns for what is searched, one JSON text for what an action declares."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec

from valhalla.guard.contracts import Line, Scan
from valhalla.guard.stores.rows import Cold, Row
from valhalla.guard.stores.wire import pack
from valhalla.kit import redact

COLUMNS: Final = (
    "id, key, fingerprint, principal, created_at, cold, generation, updated_at, version, state, lease_until, value"
)
_DECODER: Final = msgspec.json.Decoder(Cold)
_WHERE: Final = {
    "open": "state IN ('held', 'approved')",
    "approved": "state = 'approved'",
    "overdue": "state IN ('held', 'approved') AND expires_at <= :now",
    "lapsed": "state = 'executing' AND lease_until <= :now",
    "indeterminate": "state = 'indeterminate'",
    "all": "1",
    "id": "id = :id",
    "key": "name = :name AND key = :key AND answers = 1 AND (keep_until IS NULL OR keep_until > :now)",
}


def row_of(columns: tuple[Any, ...]) -> Row:
    """Return the row of ``COLUMNS``."""
    (id_, key, fingerprint, principal, created_at, cold, generation, updated_at, version, state, lease, value) = columns
    return Row(
        id=id_,
        key=key,
        fingerprint=fingerprint,
        principal=principal,
        created_at=created_at,
        cold=_DECODER.decode(cold),
        generation=generation,
        updated_at=updated_at,
        version=version,
        state=state,
        lease_until=lease,
        value=value,
    )


def find(db: sqlite3.Connection, id_: str) -> Row | None:
    """Return the row of this id."""
    found = db.execute(f"SELECT {COLUMNS} FROM actions WHERE id = ?", (id_,)).fetchone()
    return None if found is None else row_of(found)


def answering(db: sqlite3.Connection, name: str, key: str) -> Row | None:
    """Return the row that answers the key."""
    found = db.execute(
        f"SELECT {COLUMNS} FROM actions WHERE name = ? AND key = ? AND answers = 1", (name, key)
    ).fetchone()
    return None if found is None else row_of(found)


def insert(db: sqlite3.Connection, row: Row) -> None:
    """Add a row; the one that answered its key until now keeps its id only."""
    if row.key is not None:
        db.execute(
            "UPDATE actions SET answers = 0 WHERE name = ? AND key = ? AND answers = 1", (row.cold.name, row.key)
        )
    db.execute(
        "INSERT INTO actions (id, name, key, state, fingerprint, principal, generation, version, created_at,"
        " updated_at, lease_until, expires_at, value_until, keep_until, value, cold)"
        " VALUES (:id, :name, :key, :state, :fingerprint, :principal, :generation, :version, :created_at,"
        " :updated_at, :lease_until, :expires_at, :value_until, :keep_until, :value, :cold)",
        _columns(row),
    )


def update(db: sqlite3.Connection, row: Row) -> None:
    """Write a row that was changed."""
    db.execute(
        "UPDATE actions SET state = :state, fingerprint = :fingerprint, principal = :principal,"
        " generation = :generation, version = :version, created_at = :created_at, updated_at = :updated_at,"
        " lease_until = :lease_until, expires_at = :expires_at, value_until = :value_until,"
        " keep_until = :keep_until, value = :value, cold = :cold WHERE id = :id",
        _columns(row),
    )


def _columns(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.cold.name,
        "key": row.key,
        "state": row.state,
        "fingerprint": row.fingerprint,
        "principal": redact.storable(row.principal),
        "generation": row.generation,
        "version": row.version,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "lease_until": row.lease_until,
        "expires_at": row.cold.expires_at,
        "value_until": row.value_until,
        "keep_until": row.keep_until,
        "value": row.value,
        "cold": pack(row.cold),
    }


def line(db: sqlite3.Connection, at: float, event: str, row: Row, actor: str) -> None:
    """Add a ledger line about a row as it is now; what looks like a secret is masked before it is written."""
    reason = row.cold.reason
    db.execute(
        "INSERT INTO lines (at, event, name, id, state, principal, key, fingerprint, generation, reason)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            at,
            event,
            row.cold.name,
            row.id,
            row.state,
            redact.text(actor),
            None if row.key is None else redact.text(row.key),
            row.fingerprint,
            row.generation,
            None if reason is None else redact.text(reason),
        ),
    )


def scan(db: sqlite3.Connection, query: Scan, now: float) -> tuple[list[Row], int | None]:
    """Return a page of rows and its cursor."""
    where = _WHERE[query.kind]
    if query.kind not in ("id", "key"):
        where += "".join(f" AND {column} = :{column}" for column in ("name", "principal") if getattr(query, column))
        where += " AND seq > :after"
    found = db.execute(
        f"SELECT seq, {COLUMNS} FROM actions WHERE {where} ORDER BY seq LIMIT :limit",
        {
            "id": query.id,
            "name": query.name,
            "key": query.key,
            "principal": query.principal,
            "after": query.after or 0,
            "now": now,
            "limit": query.limit,
        },
    ).fetchall()
    paged = query.kind not in ("id", "key") and len(found) == query.limit
    return [row_of(columns[1:]) for columns in found], found[-1][0] if paged and found else None


def lines(db: sqlite3.Connection, query: Scan) -> tuple[Line, ...]:
    """Return a page of the ledger."""
    found = db.execute(
        "SELECT seq, at, event, name, id, state, principal, key, fingerprint, generation, NULL, reason"
        " FROM lines WHERE seq > ? ORDER BY seq LIMIT ?",
        (-1 if query.after is None else query.after, query.limit),
    )
    return tuple(Line(*columns) for columns in found)
