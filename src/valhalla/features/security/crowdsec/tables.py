"""The tables of bouncers and agents (created by migration 0024)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from valhalla.kit.db import metadata

_instant = sa.DateTime(timezone=True)

bouncers = sa.Table(
    "bouncers",
    metadata,
    sa.Column("client_id", sa.Text(collation="C"), primary_key=True),
    sa.Column("address", sa.Text(collation="C"), primary_key=True),
    # the revision of the blocklist that it has been told
    sa.Column("cursor", sa.BigInteger),
    sa.Column("agent", sa.Text),
    sa.Column("first_pull_at", _instant, nullable=False),
    sa.Column("last_pull_at", _instant, nullable=False),
    sa.Column("usage", JSONB(none_as_null=True)),
)

watchers = sa.Table(
    "watchers",
    metadata,
    sa.Column("client_id", sa.Text(collation="C"), primary_key=True),
    sa.Column("machine_id", sa.Text(collation="C"), primary_key=True),
    sa.Column("scenarios", JSONB, nullable=False),
    sa.Column("agent", sa.Text),
    sa.Column("address", sa.Text),
    sa.Column("logged_in_at", _instant, nullable=False),
    sa.Column("heartbeat_at", _instant),
    sa.Column("usage", JSONB(none_as_null=True)),
)

crowdsec_alerts = sa.Table(
    "crowdsec_alerts",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("created_at", _instant, nullable=False),
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("machine_id", sa.Text, nullable=False),
    sa.Column("scenario", sa.Text, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("keys", JSONB, nullable=False),
    sa.Column("body", JSONB, nullable=False),
    sa.Index("ix_crowdsec_alerts_created", "created_at"),
    sa.Index("ix_crowdsec_alerts_value", "value", "id"),
)
