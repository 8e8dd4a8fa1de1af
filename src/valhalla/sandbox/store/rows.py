"""From rows of the registry to values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.engine import RowMapping

from valhalla.sandbox.contracts import Route, Sandbox, Status
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.tables import sandbox_routes, sandboxes

_routes_of = (
    sa.select(
        sa.func.coalesce(
            sa.func.jsonb_agg(
                aggregate_order_by(
                    sa.func.jsonb_build_array(
                        sandbox_routes.c.kind,
                        sandbox_routes.c.key,
                        sandbox_routes.c.linked_at,
                        sandbox_routes.c.mode,
                        sandbox_routes.c.sample,
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
WITH_ROUTES: Final = sa.select(sandboxes, _routes_of)


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
        slices=tuple(row["slices"]),
    )


def from_row(row: RowMapping) -> Sandbox:
    """Turn a row of ``sandboxes`` (with or without its routes) into the value."""
    linked: Sequence[Sequence[Any]] = row.get("routes", ())
    return Sandbox(
        id=row["id"],
        name=row["name"],
        owner=row["owner"],
        status=cast(Status, row["status"]),
        template=row["template"],
        description=row["description"],
        tags=tuple(row["tags"]),
        metadata=row["metadata"],
        routes=tuple(
            Route(kind, key, datetime.fromisoformat(at), mode, sample) for kind, key, at, mode, sample in linked
        ),
        names=names_of(row),
        created_by=row["created_by"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        destroyed_at=row["destroyed_at"],
        last_activity_at=row["last_activity_at"],
        last_error=row["last_error"],
        quarantined_at=row["quarantined_at"],
    )
