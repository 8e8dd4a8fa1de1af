"""Every SQL statement of the pool."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from valhalla.sandbox.pool.stock import Slot
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.store import lapsed, names_of
from valhalla.sandbox.tables import sandboxes

# no reservation is made for longer; one that ends later was written by a clock that ran ahead
_LONGEST: Final = timedelta(minutes=5)
_ready = (sandboxes.c.status == "pending", sandboxes.c.slot_ready_at.is_not(None))


def insert(conn: Connection, slots: Sequence[Slot], *, now: datetime, lease_until: datetime) -> None:
    """Write the rows of slots that are going to be built."""
    conn.execute(
        sandboxes.insert(),
        [
            {
                "id": slot.names.id,
                # the id is a legal, unique name: a slot takes no name from anybody
                "name": slot.names.id,
                "owner": "",
                "status": "pending",
                "template": slot.template,
                "template_version": slot.version,
                "tags": [],
                "metadata": {},
                "pg_database": slot.names.database,
                "pg_schema": slot.names.schema,
                "pg_role": slot.names.role,
                "valkey_user": slot.names.valkey_user,
                "key_prefix": slot.names.key_prefix,
                "nats_account": slot.names.nats_account,
                "subject_prefix": slot.names.subject_prefix,
                "inbox_prefix": slot.names.inbox_prefix,
                "created_by": "filler",
                "created_at": now,
                "expires_at": now,
                "lease_until": lease_until,
            }
            for slot in slots
        ],
    )


def mark_ready(conn: Connection, ids: Sequence[str], *, now: datetime) -> list[str]:
    """Make built slots claimable; return those that the reaper has not taken meanwhile."""
    statement = (
        sandboxes.update()
        .where(sandboxes.c.id.in_(ids), sandboxes.c.status == "pending")
        .values(slot_ready_at=now, lease_until=None)
        .returning(sandboxes.c.id)
    )
    return list(conn.execute(statement).scalars())


def reserve(
    conn: Connection, template: str, version: str, *, process: str, limit: int, now: datetime, until: datetime
) -> list[Names]:
    """Reserve up to ``limit`` free slots for a process until its lease ends; oldest first."""
    free = (
        sa.select(sandboxes.c.id)
        .where(
            *_ready,
            sandboxes.c.template == template,
            sandboxes.c.template_version == version,
            sa.or_(sandboxes.c.reserved_by.is_(None), lapsed(now, now + _LONGEST)),
        )
        .order_by(sandboxes.c.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    # losing a reservation in a crash of the server harms nobody: the claim checks it
    conn.execute(sa.text("SET LOCAL synchronous_commit = off"))
    statement = (
        sandboxes.update()
        .where(sandboxes.c.id.in_(free))
        .values(reserved_by=process, lease_until=until)
        .returning(*sandboxes.c)
    )
    return [names_of(row) for row in conn.execute(statement).mappings()]


def renew(conn: Connection, ids: Iterable[str], *, process: str, until: datetime) -> set[str]:
    """Keep reservations; return the ids that are still ours."""
    statement = (
        sandboxes.update()
        .where(sandboxes.c.id.in_(list(ids)), *_ready, sandboxes.c.reserved_by == process)
        .values(lease_until=until)
        .returning(sandboxes.c.id)
    )
    return set(conn.execute(statement).scalars())


def release(conn: Connection, *, process: str) -> None:
    """Give up every reservation of a process that stops."""
    conn.execute(sandboxes.update().where(*_ready, sandboxes.c.reserved_by == process).values(reserved_by=None))


def count(conn: Connection, template: str, version: str, *, process: str, now: datetime) -> tuple[int, int]:
    """Return how many slots of a template version a process may claim or reserve, and how many are being built."""
    usable = sa.or_(sandboxes.c.reserved_by.is_(None), sandboxes.c.reserved_by == process, lapsed(now, now + _LONGEST))
    statement = sa.select(
        sa.func.count().filter(sandboxes.c.slot_ready_at.is_not(None), usable),
        sa.func.count().filter(sandboxes.c.slot_ready_at.is_(None)),
    ).where(
        sandboxes.c.status == "pending",
        sandboxes.c.owner == "",
        sandboxes.c.template == template,
        sandboxes.c.template_version == version,
    )
    row = conn.execute(statement).one()
    return row[0], row[1]


def stale(conn: Connection, current: Sequence[tuple[str, str]], *, older_than: datetime, limit: int) -> list[str]:
    """Return ready slots that must not be handed out: of an older template version, or too old."""
    kinds = sa.tuple_(sandboxes.c.template, sandboxes.c.template_version)
    unwanted = kinds.not_in(current) if current else sa.true()
    statement = (
        sa.select(sandboxes.c.id).where(*_ready, sa.or_(unwanted, sandboxes.c.created_at < older_than)).limit(limit)
    )
    return list(conn.execute(statement).scalars())
