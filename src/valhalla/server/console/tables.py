"""The table of the console (created by migration 0025)."""

from __future__ import annotations

import sqlalchemy as sa

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)

console_sessions = sa.Table(
    "console_sessions",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("key_digest", sa.Text, nullable=False),
    sa.Column("created_at", _instant, nullable=False),
    sa.Column("expires_at", _instant, nullable=False),
)
