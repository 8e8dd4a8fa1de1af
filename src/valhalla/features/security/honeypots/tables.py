"""The table of what honeypots caught, a partition per day (created by migration 0026)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from valhalla.kit.db import metadata

TABLE = "honeypot_events"

honeypot_events = sa.Table(
    TABLE,
    metadata,
    # when it happened, within bounds: what comes twice is in the same partition as itself
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("uid", sa.Text, nullable=False),
    sa.Column("honeypot", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("address", sa.Text),
    sa.Column("score", sa.Integer, nullable=False),
    sa.Column("payload", JSONB),
    sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint("at", "uid", name="pk_honeypot_events"),
    sa.Index("ix_honeypot_events_address", "address", "at"),
    sa.Index("ix_honeypot_events_honeypot", "honeypot", "at"),
    postgresql_partition_by="RANGE (at)",
)
