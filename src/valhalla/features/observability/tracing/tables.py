"""The table of spans, a partition per day (created by migration 0019)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from valhalla.kit.db import metadata

TABLE = "trace_spans"

trace_spans = sa.Table(
    TABLE,
    metadata,
    # when the control plane took it: what a client says of its own time decides no partition
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("trace_id", sa.Text, nullable=False),
    sa.Column("span_id", sa.Text, nullable=False),
    sa.Column("parent_id", sa.Text),
    # by which a trace is listed: nothing that is known here caused it
    sa.Column("entry", sa.Boolean, nullable=False),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("correlation_id", sa.Text),
    sa.Column("principal", sa.Text),
    sa.Column("attributes", JSONB),
    sa.Index("ix_trace_spans_trace", "trace_id", "started_at"),
    sa.Index("ix_trace_spans_entries", "at", "span_id", postgresql_where=sa.text("entry")),
    sa.Index("ix_trace_spans_failed", "at", "span_id", postgresql_where=sa.text("entry AND status = 'error'")),
    sa.Index("ix_trace_spans_name", "name", "at", "span_id", postgresql_where=sa.text("entry")),
    postgresql_partition_by="RANGE (at)",
)
