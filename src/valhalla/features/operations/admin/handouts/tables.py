"""The table of handouts (created by migration 0033)."""

from __future__ import annotations

import sqlalchemy as sa

from valhalla.kit.db import metadata

handouts = sa.Table(
    "handouts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    sa.Index("ix_handouts_owner", "owner", "expires_at"),
)
