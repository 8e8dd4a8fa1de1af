"""The table of the blocklist beside its registry (created by migration 0024)."""

from __future__ import annotations

import sqlalchemy as sa

from valhalla.kit.db import metadata

blocklist_hits = sa.Table(
    "blocklist_hits",
    metadata,
    sa.Column("key", sa.Text(collation="C"), primary_key=True),
    sa.Column("hits", sa.BigInteger, nullable=False),
    sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
    sa.Index("ix_blocklist_hits_last", "last_at"),
    sa.Index("ix_blocklist_hits_most", sa.text("hits DESC"), "key"),
)
