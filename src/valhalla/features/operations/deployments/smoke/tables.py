"""The tables of smoke runs (created by migration 0021)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)

smoke_runs = sa.Table(
    "smoke_runs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("suite", sa.Text, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("declared", JSONB, nullable=False),
    sa.Column("base_url", sa.Text, nullable=False),
    sa.Column("deployment", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("job", sa.Text),
    sa.Column("created_at", _instant, nullable=False),
    sa.Column("started_at", _instant),
    sa.Column("finished_at", _instant),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("passed", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("remedy", JSONB(none_as_null=True)),
    sa.Index("ix_smoke_runs_created", sa.text("created_at DESC"), sa.text("id DESC")),
    sa.Index("ix_smoke_runs_suite", "suite", sa.text("created_at DESC")),
    sa.Index("ix_smoke_runs_open", "created_at", postgresql_where=sa.text("finished_at IS NULL")),
)

smoke_results = sa.Table(
    "smoke_results",
    metadata,
    sa.Column("run", sa.Text, sa.ForeignKey("smoke_runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("ok", sa.Boolean, nullable=False),
    sa.Column("last", sa.Boolean, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("latency_ms", sa.Double),
    sa.Column("failures", JSONB, nullable=False),
    sa.Column("at", _instant, nullable=False),
)
