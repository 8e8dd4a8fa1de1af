"""The table of deployments (created by migration 0021)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)

deployments = sa.Table(
    "deployments",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("commit", sa.Text),
    sa.Column("committed_at", _instant),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("created_at", _instant, nullable=False),
    sa.Column("started_at", _instant),
    sa.Column("finished_at", _instant),
    sa.Column("failed_at", _instant),
    sa.Column("rollback_of", sa.Text, sa.ForeignKey("deployments.id")),
    sa.Column("rolled_back_by", sa.Text),
    sa.Column("smoke_run", sa.Text),
    sa.Column("verdict", sa.Text),
    sa.Column("revisions", JSONB, nullable=False),
    sa.Column("notes", sa.Text),
    sa.Index("ix_deployments_created", sa.text("created_at DESC"), sa.text("id DESC")),
    sa.Index("ix_deployments_place", "environment", "service", sa.text("finished_at DESC")),
    sa.Index("ix_deployments_finished", "finished_at", postgresql_where=sa.text("finished_at IS NOT NULL")),
)
