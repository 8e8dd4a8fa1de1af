"""Every SQL statement of the sandbox registry, as functions on one connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.engine import Connection, RowMapping

from valhalla.sandbox.contracts import LIVE, Route, Sandbox, Status
from valhalla.sandbox.slices.contracts import Found, Names
from valhalla.sandbox.tables import owner_live, sandbox_orphans, sandbox_routes, sandboxes

_routes_of = (
    sa.select(
        sa.func.coalesce(
            sa.func.jsonb_agg(
                aggregate_order_by(
                    sa.func.jsonb_build_array(
                        sandbox_routes.c.kind,
                        sandbox_routes.c.key,
                        sandbox_routes.c.linked_at,
                    ),
                    sandbox_routes.c.linked_at,
                    sandbox_routes.c.kind,
                    sandbox_routes.c.key,
                )
            ),
            sa.text("'[]'::jsonb"),
        )
    )
    .where(sandbox_routes.c.sandbox_id == sandboxes.c.id)
    .scalar_subquery()
    .label("routes")
)
QUOTA: Final = "quota_exceeded"
CAUSE_END: Final = " | "
_select = sa.select(sandboxes, _routes_of)


@dataclass(frozen=True, slots=True)
class Claim:
    """What an earlier request with the same idempotency key left behind."""

    sandbox: Sandbox
    fingerprint: bytes


def names_of(row: RowMapping) -> Names:
    """Return the names that a row of ``sandboxes`` holds."""
    return Names(
        id=row["id"],
        database=row["pg_database"],
        schema=row["pg_schema"],
        role=row["pg_role"],
        valkey_user=row["valkey_user"],
        key_prefix=row["key_prefix"],
        nats_account=row["nats_account"],
        subject_prefix=row["subject_prefix"],
        inbox_prefix=row["inbox_prefix"],
    )


def from_row(row: RowMapping) -> Sandbox:
    """Turn a row of ``sandboxes`` (with or without its routes) into the value."""
    linked: Sequence[Sequence[str]] = row.get("routes", ())
    return Sandbox(
        id=row["id"],
        name=row["name"],
        owner=row["owner"],
        status=cast(Status, row["status"]),
        template=row["template"],
        description=row["description"],
        tags=tuple(row["tags"]),
        metadata=row["metadata"],
        routes=tuple(Route(kind, key, datetime.fromisoformat(at)) for kind, key, at in linked),
        names=names_of(row),
        created_by=row["created_by"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        destroyed_at=row["destroyed_at"],
        last_activity_at=row["last_activity_at"],
        last_error=row["last_error"],
    )


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
            _select.where(sandboxes.c.created_by == created_by, sandboxes.c.idempotency_key == idempotency_key)
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
            created_by=sandbox.created_by,
            created_at=sandbox.created_at,
            expires_at=sandbox.expires_at,
            lease_until=lease_until,
            idempotency_key=key,
            fingerprint=fingerprint,
        )
    )


def link(conn: Connection, sandbox_id: str, route: Route, *, at: datetime) -> str:
    """Claim a route and return the id of the sandbox that holds it now: another's id means that it was taken."""
    statement = (
        pg_insert(sandbox_routes)
        .values(kind=route.kind, key=route.key, sandbox_id=sandbox_id, linked_at=at)
        .on_conflict_do_update(index_elements=["kind", "key"], set_={"kind": route.kind})
        .returning(sandbox_routes.c.sandbox_id)
    )
    return conn.execute(statement).scalar_one()


def unlink(conn: Connection, sandbox_id: str, kind: str, key: str) -> bool:
    """Release one route; False when the sandbox does not hold it."""
    result = conn.execute(
        sandbox_routes.delete().where(
            sandbox_routes.c.kind == kind,
            sandbox_routes.c.key == key,
            sandbox_routes.c.sandbox_id == sandbox_id,
        )
    )
    return result.rowcount == 1


def unlink_all(conn: Connection, sandbox_id: str) -> list[Route]:
    """Release every route of a sandbox and return them."""
    rows = conn.execute(
        sandbox_routes.delete()
        .where(sandbox_routes.c.sandbox_id == sandbox_id)
        .returning(sandbox_routes.c.kind, sandbox_routes.c.key)
    )
    return [Route(row.kind, row.key) for row in rows]


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
    visible = _select.where(sandboxes.c.owner == sa.bindparam("owner")) if owned else _select
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
    total = conn.execute(sa.select(sa.func.count()).select_from(sandboxes).where(*matches)).scalar_one()
    statement = _select.where(*matches).order_by(sandboxes.c.created_at.desc(), sandboxes.c.id.desc()).limit(limit)
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
        .values(
            last_error=sa.case((stays, cause + CAUSE_END + error[:500]), else_=error[:500]), lease_until=retry_at
        )
    )


def touch(conn: Connection, activity: Mapping[str, datetime]) -> None:
    """Move ``last_activity_at`` forward for the sandboxes with these ids."""
    if activity:
        ids = sa.cast(list(activity), sa.ARRAY(sa.Text))
        instants = sa.cast(list(activity.values()), sa.ARRAY(sa.DateTime(timezone=True)))
        moments = sa.func.unnest(ids, instants).table_valued("id", "at").render_derived()
        conn.execute(
            sandboxes.update()
            .where(sandboxes.c.id == moments.c.id)
            .values(last_activity_at=sa.func.greatest(sandboxes.c.last_activity_at, moments.c.at))
        )


def due(conn: Connection, *, now: datetime, limit: int) -> list[str]:
    """Return ids of running sandboxes whose time is over."""
    statement = (
        sa.select(sandboxes.c.id)
        .where(sandboxes.c.status == "running", sandboxes.c.expires_at <= now)
        .order_by(sandboxes.c.expires_at)
        .limit(limit)
    )
    return list(conn.execute(statement).scalars())


def stuck(conn: Connection, *, now: datetime, limit: int) -> list[tuple[str, str]]:
    """Return ``(id, status)`` of sandboxes in a transient state whose lease has run out."""
    statement = (
        sa.select(sandboxes.c.id, sandboxes.c.status)
        .where(
            sandboxes.c.status.in_(("pending", "creating", "expired", "destroying")),
            sa.func.coalesce(sandboxes.c.lease_until, sandboxes.c.created_at) <= now,
            # a slot that is ready waits for its claim; the filler looks after it
            sa.not_(sa.and_(sandboxes.c.status == "pending", sandboxes.c.slot_ready_at.is_not(None))),
        )
        .order_by(sandboxes.c.lease_until)
        .limit(limit)
    )
    return [(row.id, row.status) for row in conn.execute(statement)]


def take_lease(conn: Connection, sandbox_id: str, *, now: datetime, until: datetime) -> bool:
    """Take over a destroying sandbox whose lease has run out; False when another was faster."""
    result = conn.execute(
        sandboxes.update()
        .where(
            sandboxes.c.id == sandbox_id,
            sandboxes.c.status == "destroying",
            sa.func.coalesce(sandboxes.c.lease_until, sandboxes.c.created_at) <= now,
        )
        .values(lease_until=until)
    )
    return result.rowcount == 1


def live_names(conn: Connection) -> list[Names]:
    """Return the names of every sandbox and slot that has credentials, or is being given them."""
    rows = conn.execute(
        sa.select(sandboxes).where(sandboxes.c.status.in_(("pending", "creating", "running")))
    ).mappings()
    return [from_row(row).names for row in rows]


def running_names(conn: Connection) -> list[Names]:
    """Return the names of every sandbox that somebody may be working in."""
    rows = conn.execute(sa.select(sandboxes).where(sandboxes.c.status == "running")).mappings()
    return [names_of(row) for row in rows]


def count_by_status(conn: Connection) -> dict[str, int]:
    """Count the sandboxes that are not destroyed, by status."""
    statement = (
        sa.select(sandboxes.c.status, sa.func.count())
        .where(sandboxes.c.status != "destroyed", sandboxes.c.owner != "")
        .group_by(sandboxes.c.status)
    )
    return {row[0]: row[1] for row in conn.execute(statement)}


def ended(conn: Connection, ids: Iterable[str]) -> set[str]:
    """Of these ids, return those that are destroyed or that the registry has never known."""
    wanted = set(ids)
    statement = sa.select(sandboxes.c.id).where(sandboxes.c.id.in_(wanted), sandboxes.c.status != "destroyed")
    return wanted - set(conn.execute(statement).scalars())


def suspect(conn: Connection, found: Sequence[Found], *, slices: Sequence[str], now: datetime) -> dict[Found, datetime]:
    """Remember orphan candidates, forget those that are gone from ``slices``, and return when each was first seen."""
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
    seen = {(row.slice, row.kind, row.name): row.first_seen for row in conn.execute(sa.select(sandbox_orphans))}
    return {
        item: seen[item.slice, item.kind, item.name] for item in found if (item.slice, item.kind, item.name) in seen
    }
