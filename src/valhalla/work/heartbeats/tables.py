"""The table of heartbeats (migrations 0010 and 0011)."""

from __future__ import annotations

import sqlalchemy as sa

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)

heartbeats = sa.Table(
    "heartbeats",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    # what the source promised when it was first expected
    sa.Column("interval", sa.Double, nullable=False),
    sa.Column("timeout", sa.Double, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("expected_since", _instant, nullable=False),
    sa.Column("last_beat_at", _instant),
    sa.Column("changed_at", _instant, nullable=False),
    # a run that says when it begins must end within `grace` seconds; what the last one took, or why it failed
    sa.Column("grace", sa.Double),
    sa.Column("started_at", _instant),
    sa.Column("took", sa.Double),
    sa.Column("reason", sa.Text),
)
