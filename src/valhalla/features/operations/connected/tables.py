"""The table of applications (created by migration 0036)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)

applications = sa.Table(
    "applications",
    metadata,
    sa.Column("client_id", sa.Text(collation="C"), primary_key=True),
    # one process of it
    sa.Column("instance", sa.Text(collation="C"), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("revision", sa.Text),
    sa.Column("blocklist", sa.BigInteger),
    sa.Column("lacks", JSONB, nullable=False),
    sa.Column("first_seen_at", _instant, nullable=False),
    sa.Column("seen_at", _instant, nullable=False),
    sa.Index("ix_applications_seen", "seen_at"),
)
