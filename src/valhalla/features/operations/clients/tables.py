"""The tables of API clients beside their registry (created by migration 0015)."""

from __future__ import annotations

import sqlalchemy as sa

from valhalla.kit.db import metadata

client_usage = sa.Table(
    "client_usage",
    metadata,
    sa.Column("client_id", sa.Text(collation="C"), primary_key=True),
    sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
    sa.Index("ix_client_usage_last", "last_used_at"),
)
