"""What people add to requested actions (created by migration 0028)."""

from __future__ import annotations

import sqlalchemy as sa

from valhalla.kit.db import metadata

notes = sa.Table(
    "action_notes",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("name", sa.Text),
    sa.Column("media_type", sa.Text),
    sa.Column("size", sa.Integer),
    sa.Column("sha256", sa.Text),
    sa.Column("content", sa.LargeBinary),
    sa.Index("ix_action_notes_action", "action", "kind", "id"),
    sa.Index("uq_action_notes_escalation", "action", unique=True, postgresql_where=sa.text("kind = 'escalation'")),
)
