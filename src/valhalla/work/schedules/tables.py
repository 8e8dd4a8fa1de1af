"""The table of schedules (created by migration 0010)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("args", JSONB, nullable=False),
    sa.Column("timing", JSONB, nullable=False),
    sa.Column("catch_up", sa.Text, nullable=False),
    sa.Column("overlap", sa.Text, nullable=False),
    sa.Column("jitter", sa.Double, nullable=False),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("next_at", _instant),
    sa.Column("last_at", _instant),
    sa.Column("last_job", sa.Text),
    sa.Column("last_error", sa.Text),
    sa.Column("created_at", _instant, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Index("ix_schedules_next_at", "next_at", postgresql_where=sa.text("NOT paused")),
)
