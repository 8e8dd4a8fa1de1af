"""The ledger's tables (created by migration 0001)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from valhalla.kit.db import metadata

entries = sa.Table(
    "ledger_entries",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("details", JSONB, nullable=False),
    sa.Column("correlation_id", sa.Text),
    sa.Column("nonce", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("mac", sa.LargeBinary, nullable=False),
    sa.Column("seq", sa.BigInteger, unique=True),
    sa.Column("prev", sa.LargeBinary),
    sa.Column("hash", sa.LargeBinary),
    sa.Index("ix_ledger_entries_subject", "kind", "subject", "id"),
    sa.Index("ix_ledger_entries_actor", "actor", "id"),
    sa.Index("ix_ledger_entries_unsealed", "id", postgresql_where=sa.text("seq IS NULL")),
)

checkpoints = sa.Table(
    "ledger_checkpoints",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
)
