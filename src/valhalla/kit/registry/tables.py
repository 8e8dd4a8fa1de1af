"""The registries' tables (created by migration 0001)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)

heads = sa.Table(
    "registry_heads",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
)

records = sa.Table(
    "registry_records",
    metadata,
    sa.Column("registry", sa.Text, primary_key=True),
    # "C": pages are in byte order, whatever the cluster's locale
    sa.Column("key", sa.Text(collation="C"), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("body", JSONB, nullable=False),
    sa.Column("created_at", _instant, nullable=False),
    sa.Column("updated_at", _instant, nullable=False),
    # what has expired among a million rules of the blocklist
    sa.Index(
        "ix_registry_records_blocklist_expiry",
        sa.text("(body ->> 'expires_at')"),
        postgresql_where=sa.text("registry = 'blocklist' AND body ->> 'expires_at' IS NOT NULL"),
    ),
)

changes = sa.Table(
    "registry_changes",
    metadata,
    sa.Column("registry", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True),
    sa.Column("op", sa.Text, nullable=False),
    sa.Column("key", sa.Text(collation="C"), nullable=False),
    # none_as_null: no record is SQL NULL, not the JSON null
    sa.Column("before", JSONB(none_as_null=True)),
    sa.Column("after", JSONB(none_as_null=True)),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("at", _instant, nullable=False),
    sa.Column("correlation_id", sa.Text),
    sa.CheckConstraint("op IN ('put', 'delete')", name="op"),
    sa.Index("ix_registry_changes_key", "registry", "key", "revision"),
)
