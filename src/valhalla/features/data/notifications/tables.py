"""The tables of notifications (created by migration 0022)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)
_open = sa.text("status IN ('pending', 'failed')")

deliveries = sa.Table(
    "notification_deliveries",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, sa.Identity(always=True), nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("rule", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("items", JSONB, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("bundle", sa.Text),
    sa.Column("dedup", sa.Text),
    sa.Column("template", sa.Text),
    sa.Column("fallback", sa.Text),
    sa.Column("path", ARRAY(sa.Text), nullable=False),
    sa.Column("origin", sa.Text),
    sa.Column("fell_back", sa.Boolean, nullable=False),
    sa.Column("blocking", sa.Boolean, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", _instant, nullable=False),
    sa.Column("created_at", _instant, nullable=False),
    sa.Column("finished_at", _instant),
    sa.Column("error", sa.Text),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("correlation_id", sa.Text),
    sa.UniqueConstraint("seq"),
    sa.Index("ix_notification_deliveries_open", "channel", "seq", postgresql_where=_open),
    sa.Index("ix_notification_deliveries_failed", "channel", "seq", postgresql_where=sa.text("status = 'failed'")),
    sa.Index("ix_notification_deliveries_taken", "seq", postgresql_where=sa.text("status = 'delivering'")),
    sa.Index("ix_notification_deliveries_dead", "seq", postgresql_where=sa.text("status = 'dead'")),
    sa.Index(
        "uq_notification_deliveries_bundle",
        "bundle",
        unique=True,
        postgresql_where=sa.text("bundle IS NOT NULL AND status = 'pending'"),
    ),
    sa.Index("uq_notification_deliveries_dedup", "dedup", unique=True, postgresql_where=sa.text("dedup IS NOT NULL")),
    sa.Index(
        "ix_notification_deliveries_rule",
        "rule",
        "channel",
        "created_at",
        postgresql_where=sa.text("rule IS NOT NULL"),
    ),
    postgresql_with={"fillfactor": 80},
)

attempts = sa.Table(
    "notification_attempts",
    metadata,
    sa.Column("delivery", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("at", _instant, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("error", sa.Text),
    sa.Column("excerpt", sa.Text),
)

# how a channel fares: written when that changes
standings = sa.Table(
    "notification_channels",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("failing_since", _instant),
    sa.Column("paused_until", _instant),
    sa.Column("told", sa.Boolean, nullable=False),
    sa.Column("last_error", sa.Text),
    sa.Column("delivered_at", _instant),
    sa.Column("updated_at", _instant, nullable=False),
)

# the events that became deliveries: an event may be offered twice
seen_events = sa.Table(
    "notification_events",
    metadata,
    sa.Column("event_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", _instant, nullable=False),
    sa.Index("ix_notification_events_at", "at"),
)
