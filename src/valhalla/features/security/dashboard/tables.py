"""Rollups of what concerns security (created by migration 0030)."""

from __future__ import annotations

import sqlalchemy as sa

from valhalla.kit.db import metadata

rollups = sa.Table(
    "security_rollups",
    metadata,
    sa.Column("at", sa.DateTime(timezone=True), primary_key=True),
    sa.Column("metric", sa.Text, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)
