"""Sandboxes as their owners ask about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.engine import Connection

from valhalla.sandbox.contracts import LIVE, Sandbox
from valhalla.sandbox.store.rows import WITH_ROUTES, from_row
from valhalla.sandbox.tables import owner_live, sandboxes


@dataclass(frozen=True, slots=True)
class Claim:
    """What an earlier request with the same idempotency key left behind."""

    sandbox: Sandbox
    fingerprint: bytes


def lock_owner(conn: Connection, owner: str) -> int:
    """Return how many live sandboxes the owner has, and hold the count until the transaction ends.

    One creation per owner decides at a time, here and in ``claim_slots``, so the limit holds.
    """
    conn.execute(pg_insert(owner_live).values(owner=owner, live=0).on_conflict_do_nothing())
    return conn.execute(sa.select(owner_live.c.live).where(owner_live.c.owner == owner).with_for_update()).scalar_one()


def find_claim(conn: Connection, created_by: str, idempotency_key: str) -> Claim | None:
    """Return what this principal's key has made, if it was used."""
    row = (
        conn.execute(
            WITH_ROUTES.where(sandboxes.c.created_by == created_by, sandboxes.c.idempotency_key == idempotency_key)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else Claim(from_row(row), bytes(row["fingerprint"]))


def name_is_taken(conn: Connection, name: str) -> bool:
    """Say whether a live sandbox has the name."""
    statement = sa.select(sa.literal(1)).where(sandboxes.c.name == name, sandboxes.c.status.in_(LIVE)).limit(1)
    return conn.execute(statement).first() is not None


def insert(conn: Connection, sandbox: Sandbox, *, lease_until: datetime, key: str | None, fingerprint: bytes) -> None:
    """Write a new sandbox's row and its routes."""
    names = sandbox.names
    conn.execute(
        sandboxes.insert().values(
            id=sandbox.id,
            name=sandbox.name,
            owner=sandbox.owner,
            status=sandbox.status,
            template=sandbox.template,
            description=sandbox.description,
            tags=list(sandbox.tags),
            metadata=dict(sandbox.metadata),
            pg_database=names.database,
            pg_schema=names.schema,
            pg_role=names.role,
            valkey_user=names.valkey_user,
            key_prefix=names.key_prefix,
            nats_account=names.nats_account,
            subject_prefix=names.subject_prefix,
            inbox_prefix=names.inbox_prefix,
            slices=list(names.slices),
            created_by=sandbox.created_by,
            created_at=sandbox.created_at,
            expires_at=sandbox.expires_at,
            lease_until=lease_until,
            idempotency_key=key,
            fingerprint=fingerprint,
        )
    )


def lock(conn: Connection, sandbox_id: str) -> Sandbox | None:
    """Read one sandbox and hold its row until the transaction ends."""
    row = (
        conn.execute(sa.select(sandboxes).where(sandboxes.c.id == sandbox_id).with_for_update())
        .mappings()
        .one_or_none()
    )
    return None if row is None else from_row(row)


def find(conn: Connection, reference: str, *, owner: str | None = None) -> Sandbox | None:
    """Return the sandbox with this id, else the live one of this name, else the newest ended one.

    With ``owner`` only that owner's are seen: another's later use of a name hides nothing.
    """
    asked = {"reference": reference} | ({} if owner is None else {"owner": owner})
    by_id, by_name = _finders(owned=owner is not None)
    row = conn.execute(by_id, asked).mappings().one_or_none() or conn.execute(by_name, asked).mappings().one_or_none()
    return None if row is None else from_row(row)


@cache
def _finders(*, owned: bool) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """Build the look-ups once: building costs more than running them."""
    visible = WITH_ROUTES.where(sandboxes.c.owner == sa.bindparam("owner")) if owned else WITH_ROUTES
    reference = sa.bindparam("reference", type_=sa.Text)
    by_name = (
        visible.where(sandboxes.c.name == reference)
        .order_by(sandboxes.c.status.in_(LIVE).desc(), sandboxes.c.created_at.desc())
        .limit(1)
    )
    return visible.where(sandboxes.c.id == reference), by_name


def page(
    conn: Connection,
    *,
    owner: str | None,
    statuses: Iterable[str] | None,
    tag: str | None,
    name: str | None = None,
    limit: int,
    after: tuple[datetime, str] | None,
) -> tuple[list[Sandbox], int]:
    """Return up to ``limit`` sandboxes, newest first, after the cursor position, and how many match in all."""
    # a slot of the pool has no owner and is nobody's sandbox yet
    matches: list[sa.ColumnElement[bool]] = [sandboxes.c.owner != ""]
    if owner is not None:
        matches.append(sandboxes.c.owner == owner)
    if statuses is not None:
        matches.append(sandboxes.c.status.in_(list(statuses)))
    if tag is not None:
        matches.append(sandboxes.c.tags.contains([tag]))
    if name is not None:
        matches.append(sandboxes.c.name.startswith(name, autoescape=True))
    total = conn.execute(sa.select(sa.func.count()).select_from(sandboxes).where(*matches)).scalar_one()
    statement = WITH_ROUTES.where(*matches).order_by(sandboxes.c.created_at.desc(), sandboxes.c.id.desc()).limit(limit)
    if after is not None:
        statement = statement.where(
            sa.tuple_(sandboxes.c.created_at, sandboxes.c.id) < sa.tuple_(*map(sa.literal, after))
        )
    return [from_row(row) for row in conn.execute(statement).mappings()], total


def set_expiry(conn: Connection, sandbox_id: str, expires_at: datetime, *, before: datetime) -> bool:
    """Move the end of a running sandbox from ``before``; False when it runs no more or was moved meanwhile."""
    result = conn.execute(
        sandboxes.update()
        .where(
            sandboxes.c.id == sandbox_id,
            sandboxes.c.status == "running",
            sandboxes.c.expires_at == before,
        )
        .values(expires_at=expires_at)
    )
    return result.rowcount == 1


def touch(conn: Connection, activity: Mapping[str, datetime]) -> None:
    """Move ``last_activity_at`` forward for the sandboxes with these ids."""
    if activity:
        ids = sa.cast(list(activity), sa.ARRAY(sa.Text))
        instants = sa.cast(list(activity.values()), sa.ARRAY(sa.DateTime(timezone=True)))
        moments = sa.func.unnest(ids, instants).table_valued("id", "at").render_derived()
        # rows in one order, and none that somebody changes now: two reapers would lock each other out
        free = sa.select(sandboxes.c.id).where(sandboxes.c.id.in_(list(activity)))
        free = free.order_by(sandboxes.c.id).with_for_update(skip_locked=True)
        conn.execute(
            sandboxes.update()
            .where(sandboxes.c.id == moments.c.id, sandboxes.c.id.in_(free))
            .values(last_activity_at=sa.func.greatest(sandboxes.c.last_activity_at, moments.c.at))
        )


def count_by_status(conn: Connection) -> dict[str, int]:
    """Count the sandboxes that are not destroyed, by status."""
    statement = (
        sa.select(sandboxes.c.status, sa.func.count())
        .where(sandboxes.c.status != "destroyed", sandboxes.c.owner != "")
        .group_by(sandboxes.c.status)
    )
    return {row[0]: row[1] for row in conn.execute(statement)}
