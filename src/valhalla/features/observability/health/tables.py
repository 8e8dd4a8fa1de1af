"""Samples and what readiness writes (created by migration 0017)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)

metrics_snapshots = sa.Table(
    "metrics_snapshots",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("at", _instant, primary_key=True),
    sa.Column("numbers", JSONB, nullable=False),
    sa.Index("ix_metrics_snapshots_at", "at"),
)

health_marks = sa.Table(
    "health_marks",
    metadata,
    sa.Column("token", sa.Text, primary_key=True),
    sa.Column("at", _instant, nullable=False, server_default=sa.func.clock_timestamp()),
)
