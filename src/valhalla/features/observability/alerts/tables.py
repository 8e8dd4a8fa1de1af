"""The tables of alerts (created by their migration)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    # one row for all episodes: what comes back is opened again
    sa.Column("fingerprint", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("labels", JSONB, nullable=False),
    sa.Column("context", JSONB, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("episodes", sa.Integer, nullable=False),
    sa.Column("escalations", sa.Integer, nullable=False),
    sa.Column("first_at", _instant, nullable=False),
    sa.Column("opened_at", _instant, nullable=False),
    sa.Column("last_at", _instant, nullable=False),
    sa.Column("starts_at", _instant, nullable=False),
    # when it is over unless somebody sends it again
    sa.Column("ends_at", _instant),
    sa.Column("escalate_at", _instant),
    sa.Column("acknowledged_at", _instant),
    sa.Column("acknowledged_by", sa.Text),
    sa.Column("resolved_at", _instant),
    sa.Column("resolved_by", sa.Text),
    sa.Column("note", sa.Text),
)

# the events whose alerts were counted: an event may be delivered twice
seen_events = sa.Table(
    "alert_events",
    metadata,
    sa.Column("event_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", _instant, nullable=False),
)
