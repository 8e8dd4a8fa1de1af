"""Every SQL statement of the console: who is signed in. What its pages show comes from the API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from valhalla.server.console.contracts import Kind, Ticket
from valhalla.server.console.tables import console_sessions

_t = console_sessions.c


def add(conn: Connection, digest: str, row: Mapping[str, Any], now: datetime) -> None:
    """Keep one, and forget those that have expired."""
    conn.execute(sa.delete(console_sessions).where(_t.expires_at <= now))
    conn.execute(sa.insert(console_sessions), {"digest": digest, "created_at": now, **row})


def add_once(conn: Connection, kind: Kind, digest: str, until: datetime, now: datetime) -> bool:
    """Keep one that may come once; say whether it is the first time."""
    conn.execute(sa.delete(console_sessions).where(_t.expires_at <= now))
    row = {"digest": digest, "kind": kind, "client_id": "", "key_digest": "", "created_at": now, "expires_at": until}
    added = insert(console_sessions).values(row).on_conflict_do_nothing().returning(_t.digest)
    return conn.execute(added).one_or_none() is not None


def find(conn: Connection, kind: Kind, digest: str, now: datetime) -> Ticket | None:
    """Return the one of this digest that has not expired."""
    wanted = sa.select(_t.client_id, _t.key_digest, _t.expires_at).where(
        _t.digest == digest, _t.kind == kind, _t.expires_at > now
    )
    row = conn.execute(wanted).one_or_none()
    return None if row is None else Ticket(*row)


def end_all(conn: Connection, key_digest: str) -> list[str]:
    """End every session of an account; return whose they were."""
    ended = sa.delete(console_sessions).where(_t.key_digest == key_digest, _t.kind == "session").returning(_t.client_id)
    return list(conn.scalars(ended))


def take(conn: Connection, kind: Kind, digest: str, now: datetime) -> Ticket | None:
    """Remove it and return what it was: of two who come with one link only one gets it."""
    taken = (
        sa.delete(console_sessions)
        .where(_t.digest == digest, _t.kind == kind)
        .returning(_t.client_id, _t.key_digest, _t.expires_at)
    )
    row = conn.execute(taken).one_or_none()
    return None if row is None or row.expires_at <= now else Ticket(*row)
