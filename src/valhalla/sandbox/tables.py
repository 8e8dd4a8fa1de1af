"""The sandbox registry's tables (created by migrations 0002 to 0007)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)

sandboxes = sa.Table(
    "sandboxes",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("template", sa.Text, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("tags", ARRAY(sa.Text), nullable=False),
    sa.Column("metadata", JSONB, nullable=False),
    sa.Column("pg_database", sa.Text, nullable=False),
    sa.Column("pg_schema", sa.Text, nullable=False, unique=True),
    sa.Column("pg_role", sa.Text, nullable=False, unique=True),
    sa.Column("valkey_user", sa.Text, nullable=False, unique=True),
    sa.Column("key_prefix", sa.Text, nullable=False, unique=True),
    sa.Column("nats_account", sa.Text, nullable=False, unique=True),
    sa.Column("subject_prefix", sa.Text, nullable=False, unique=True),
    sa.Column("inbox_prefix", sa.Text, nullable=False, unique=True),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", _instant, nullable=False),
    sa.Column("expires_at", _instant, nullable=False),
    sa.Column("destroyed_at", _instant),
    sa.Column("last_activity_at", _instant),
    sa.Column("last_error", sa.Text),
    # who works on a transient state may do so until then; afterwards the reaper takes over
    sa.Column("lease_until", _instant),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("fingerprint", sa.LargeBinary),
    sa.Column("template_version", sa.Text),
    # set on a slot of the pool that is complete in every backend; who has reserved it may claim it
    sa.Column("slot_ready_at", _instant),
    sa.Column("reserved_by", sa.Text),
    sa.Column("slices", ARRAY(sa.Text), nullable=False, server_default="{postgres,valkey,nats}"),
    # nobody enters since then, and what is in it stays
    sa.Column("quarantined_at", _instant),
)

sandbox_routes = sa.Table(
    "sandbox_routes",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("sandbox_id", sa.Text, sa.ForeignKey("valhalla.sandboxes.id"), nullable=False, index=True),
    sa.Column("linked_at", _instant, nullable=False),
    # the pool's function makes rows without them
    sa.Column("mode", sa.Text, nullable=False, server_default="steal"),
    sa.Column("sample", sa.Double, nullable=False, server_default="1"),
)

arenas = sa.Table(
    "arenas",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("opened_at", _instant, nullable=False),
    sa.Column("closed_at", _instant),
    sa.Column("dropped_at", _instant),
)

owner_live = sa.Table(
    "owner_live",
    metadata,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("live", sa.Integer, nullable=False),
)

sandbox_orphans = sa.Table(
    "sandbox_orphans",
    metadata,
    sa.Column("slice", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("sandbox_id", sa.Text, nullable=False),
    sa.Column("first_seen", _instant, nullable=False),
)
