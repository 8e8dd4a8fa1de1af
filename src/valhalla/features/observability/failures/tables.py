"""The table of unexpected errors (created by migration 0016)."""

from __future__ import annotations

import sqlalchemy as sa

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)

error_events = sa.Table(
    "error_events",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("route", sa.Text, nullable=False),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("sample", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("first_at", _instant, nullable=False),
    sa.Column("last_at", _instant, nullable=False),
    sa.Column("last_correlation", sa.Text, nullable=False),
    sa.Column("last_principal", sa.Text),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("settled_at", _instant),
    sa.Column("settled_by", sa.Text),
    sa.Column("note", sa.Text),
    sa.Index("ix_error_events_last", sa.text("last_at DESC"), sa.text("id DESC")),
)
