"""What must be ended, resumed or swept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.engine import Connection

from valhalla.kit.advisory import ORPHANS
from valhalla.sandbox.slices.contracts import Found, Names
from valhalla.sandbox.store.rows import names_of
from valhalla.sandbox.tables import sandbox_orphans, sandboxes

QUOTA: Final = "quota_exceeded"
CAUSE_END: Final = " | "


def renew_lease(conn: Connection, sandbox_id: str, *, status: str, until: datetime) -> bool:
    """Keep working on a transient state; False when another has taken it over."""
    result = conn.execute(
        sandboxes.update().where(sandboxes.c.id == sandbox_id, sandboxes.c.status == status).values(lease_until=until)
    )
    return result.rowcount == 1


def note_error(conn: Connection, sandbox_id: str, error: str, *, retry_at: datetime) -> None:
    """Remember why a teardown did not finish, and when to try again; why it began, if that is known, stays."""
    cause = sa.func.split_part(sandboxes.c.last_error, CAUSE_END, 1)
    stays = sandboxes.c.last_error.startswith(QUOTA, autoescape=True)
    conn.execute(
        sandboxes.update()
        .where(sandboxes.c.id == sandbox_id, sandboxes.c.status == "destroying")
        .values(last_error=sa.case((stays, cause + CAUSE_END + error[:500]), else_=error[:500]), lease_until=retry_at)
    )


def due(conn: Connection, *, now: datetime, limit: int) -> list[str]:
    """Return ids of running sandboxes whose time is over; in quarantine it stands still."""
    statement = (
        sa.select(sandboxes.c.id)
        .where(sandboxes.c.status == "running", sandboxes.c.expires_at <= now, sandboxes.c.quarantined_at.is_(None))
        .order_by(sandboxes.c.expires_at)
        .limit(limit)
    )
    return list(conn.execute(statement).scalars())


def lapsed(now: datetime, horizon: datetime) -> sa.ColumnElement[bool]:
    """Say of a row whether its lease has run out; one beyond ``horizon`` was written by a clock that ran ahead."""
    until = sa.func.coalesce(sandboxes.c.lease_until, sandboxes.c.created_at)
    return sa.or_(until <= now, until > horizon)


def stuck(conn: Connection, *, now: datetime, horizon: datetime, limit: int) -> list[tuple[str, str]]:
    """Return ``(id, status)`` of sandboxes in a transient state whose lease has ``lapsed``."""
    statement = (
        sa.select(sandboxes.c.id, sandboxes.c.status)
        .where(
            sandboxes.c.status.in_(("pending", "creating", "expired", "destroying")),
            lapsed(now, horizon),
            # a slot that is ready waits for its claim; the filler looks after it
            sa.not_(sa.and_(sandboxes.c.status == "pending", sandboxes.c.slot_ready_at.is_not(None))),
        )
        .order_by(sandboxes.c.lease_until)
        .limit(limit)
    )
    return [(row.id, row.status) for row in conn.execute(statement)]


def take_lease(conn: Connection, sandbox_id: str, *, now: datetime, horizon: datetime, until: datetime) -> bool:
    """Take over a destroying sandbox whose lease has ``lapsed``; False when another was faster."""
    result = conn.execute(
        sandboxes.update()
        .where(
            sandboxes.c.id == sandbox_id,
            sandboxes.c.status == "destroying",
            lapsed(now, horizon),
        )
        .values(lease_until=until)
    )
    return result.rowcount == 1


def live_names(conn: Connection) -> list[Names]:
    """Return the names of every sandbox and slot that has a Valkey user, or is being given one."""
    rows = conn.execute(
        sa.select(sandboxes).where(
            sandboxes.c.status.in_(("pending", "creating", "running")),
            sandboxes.c.slices.contains(["valkey"]),
            sandboxes.c.quarantined_at.is_(None),
        )
    ).mappings()
    return [names_of(row) for row in rows]


def running_names(conn: Connection) -> list[Names]:
    """Return the names of every sandbox that somebody may be working in."""
    rows = conn.execute(sa.select(sandboxes).where(sandboxes.c.status == "running")).mappings()
    return [names_of(row) for row in rows]


def ended(conn: Connection, ids: Iterable[str]) -> set[str]:
    """Of these ids, return those that are destroyed or that the registry has never known."""
    wanted = set(ids)
    statement = sa.select(sandboxes.c.id).where(sandboxes.c.id.in_(wanted), sandboxes.c.status != "destroyed")
    return wanted - set(conn.execute(statement).scalars())


def suspect(conn: Connection, found: Sequence[Found], *, slices: Sequence[str], now: datetime) -> dict[Found, datetime]:
    """Remember orphan candidates, forget those that are gone from ``slices``, and return when each was first seen."""
    # every reaper finds the same ones, each in its own order
    conn.execute(sa.select(sa.func.pg_advisory_xact_lock(ORPHANS)))
    keys = [(item.slice, item.kind, item.name) for item in found]
    columns = (sandbox_orphans.c.slice, sandbox_orphans.c.kind, sandbox_orphans.c.name)
    gone = sandbox_orphans.c.slice.in_(slices)
    conn.execute(sandbox_orphans.delete().where(gone, sa.tuple_(*columns).not_in(keys) if keys else sa.true()))
    if not found:
        return {}
    conn.execute(
        pg_insert(sandbox_orphans).on_conflict_do_nothing(),
        [
            {"slice": i.slice, "kind": i.kind, "name": i.name, "sandbox_id": i.sandbox_id, "first_seen": now}
            for i in found
        ],
    )
    # seen in the future: the clock has been set back, and the grace begins now
    conn.execute(sandbox_orphans.update().where(sandbox_orphans.c.first_seen > now).values(first_seen=now))
    seen = {(row.slice, row.kind, row.name): row.first_seen for row in conn.execute(sa.select(sandbox_orphans))}
    return {
        item: seen[item.slice, item.kind, item.name] for item in found if (item.slice, item.kind, item.name) in seen
    }
