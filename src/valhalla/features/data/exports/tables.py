"""The table of exports (created by migration 0023)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)

export_jobs = sa.Table(
    "export_jobs",
    metadata,
    sa.Column("id", sa.Text(collation="C"), primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("format", sa.Text, nullable=False),
    sa.Column("compression", sa.Text, nullable=False),
    sa.Column("profile", sa.Text, nullable=False),
    sa.Column("columns", JSONB, nullable=False),
    sa.Column("conditions", JSONB, nullable=False),
    sa.Column("since", _instant),
    sa.Column("until", _instant),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    # what a key needs, besides that of exports, to see it
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("job", sa.Text),
    # what is asked, fixed when it began: an interruption must not change the rest
    sa.Column("query", JSONB(none_as_null=True)),
    sa.Column("place", JSONB(none_as_null=True)),
    sa.Column("estimate", sa.BigInteger),
    sa.Column("rows", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("read", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("written", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("files", JSONB, nullable=False, server_default="[]"),
    sa.Column("manifest", JSONB(none_as_null=True)),
    sa.Column("store", sa.Text, nullable=False),
    sa.Column("error", JSONB(none_as_null=True)),
    sa.Column("created_at", _instant, nullable=False),
    sa.Column("started_at", _instant),
    sa.Column("finished_at", _instant),
    sa.Column("seen_at", _instant),
    sa.Column("expires_at", _instant),
    sa.Column("removed_at", _instant),
    sa.Index("ix_export_jobs_created", sa.text("created_at DESC"), sa.text("id DESC")),
    sa.Index("ix_export_jobs_open", "seen_at", postgresql_where=sa.text("finished_at IS NULL")),
    sa.Index(
        "ix_export_jobs_expiring",
        "expires_at",
        postgresql_where=sa.text("expires_at IS NOT NULL AND removed_at IS NULL"),
    ),
)
