"""The outbox's table (created by migration 0001)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("uid", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("data", JSONB, nullable=False),
    sa.Column("correlation_id", sa.Text),
    sa.Column("at", _instant, nullable=False),
    sa.Column("sent_at", _instant),
    sa.Column("traceparent", sa.Text),
    sa.Index("ix_events_unsent", "id", postgresql_where=sa.text("sent_at IS NULL")),
    sa.Index("ix_events_sent", "sent_at", postgresql_where=sa.text("sent_at IS NOT NULL")),
)
