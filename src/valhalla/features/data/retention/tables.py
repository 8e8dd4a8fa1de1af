"""The table of purges (created by migration 0023)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)

retention_runs = sa.Table(
    "retention_runs",
    metadata,
    sa.Column("id", sa.Text(collation="C"), primary_key=True),
    sa.Column("category", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("cutoff", _instant, nullable=False),
    sa.Column("policy", JSONB, nullable=False),
    # more rows than that were not confirmed
    sa.Column("most", sa.BigInteger),
    sa.Column("job", sa.Text),
    sa.Column("export", sa.Text),
    sa.Column("rows", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("batches", sa.Integer, nullable=False, server_default="0"),
    sa.Column("days", JSONB, nullable=False, server_default="[]"),
    sa.Column("oldest", _instant),
    sa.Column("newest", _instant),
    sa.Column("digest", sa.Text),
    sa.Column("held", sa.BigInteger),
    sa.Column("error", JSONB(none_as_null=True)),
    sa.Column("created_at", _instant, nullable=False),
    sa.Column("started_at", _instant),
    sa.Column("finished_at", _instant),
    sa.Index("ix_retention_runs_created", sa.text("created_at DESC"), sa.text("id DESC")),
    sa.Index(
        "uq_retention_runs_open", "category", unique=True, postgresql_where=sa.text("status IN ('pending', 'running')")
    ),
)
