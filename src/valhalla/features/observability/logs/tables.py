"""The table of log lines, a partition per day (created by migration 0019)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

from valhalla.kit.db import metadata

TABLE = "system_logs"

system_logs = sa.Table(
    TABLE,
    metadata,
    # when the control plane took it
    sa.Column("at", sa.DateTime(timezone=True), primary_key=True),
    sa.Column("id", sa.BigInteger, sa.FetchedValue(), primary_key=True, autoincrement=False),
    sa.Column("level", sa.SmallInteger, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("category", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("correlation_id", sa.Text),
    sa.Column("trace_id", sa.Text),
    sa.Column("principal", sa.Text),
    sa.Column("owner", sa.Text),
    sa.Column("context", JSONB),
    # made by the database from the message
    sa.Column("words", TSVECTOR, sa.FetchedValue()),
    sa.Index("ix_system_logs_warnings", "at", "id", postgresql_where=sa.text("level >= 30")),
    sa.Index("ix_system_logs_errors", "at", "id", postgresql_where=sa.text("level >= 40")),
    sa.Index("ix_system_logs_category", "category", "at", "id"),
    sa.Index("ix_system_logs_principal", "principal", "at", "id", postgresql_where=sa.text("principal IS NOT NULL")),
    sa.Index(
        "ix_system_logs_correlation",
        "correlation_id",
        "at",
        "id",
        postgresql_where=sa.text("correlation_id IS NOT NULL"),
    ),
    sa.Index("ix_system_logs_words", "words", postgresql_using="gin"),
    postgresql_partition_by="RANGE (at)",
)
