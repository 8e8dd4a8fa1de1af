"""Deliveries of notifications with their attempts, and how each channel fares."""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE valhalla.notification_deliveries (
        id text CONSTRAINT pk_notification_deliveries PRIMARY KEY,
        seq bigint GENERATED ALWAYS AS IDENTITY,
        channel text NOT NULL,
        rule text,
        status text NOT NULL,
        type text NOT NULL,
        severity text NOT NULL,
        title text NOT NULL,
        items jsonb NOT NULL,
        count integer NOT NULL,
        bundle text,
        dedup text,
        template text,
        fallback text,
        path text[] NOT NULL,
        origin text,
        fell_back boolean NOT NULL,
        blocking boolean NOT NULL,
        attempts integer NOT NULL,
        due_at timestamptz NOT NULL,
        created_at timestamptz NOT NULL,
        finished_at timestamptz,
        error text,
        actor text NOT NULL,
        correlation_id text,
        CONSTRAINT uq_notification_deliveries_seq UNIQUE (seq)
    ) WITH (fillfactor = 80)
    """,
    """
    CREATE INDEX ix_notification_deliveries_open ON valhalla.notification_deliveries (channel, seq)
        WHERE status IN ('pending', 'failed')
    """,
    """
    CREATE INDEX ix_notification_deliveries_failed ON valhalla.notification_deliveries (channel, seq)
        WHERE status = 'failed'
    """,
    """
    CREATE INDEX ix_notification_deliveries_taken ON valhalla.notification_deliveries (seq)
        WHERE status = 'delivering'
    """,
    "CREATE INDEX ix_notification_deliveries_dead ON valhalla.notification_deliveries (seq) WHERE status = 'dead'",
    """
    CREATE UNIQUE INDEX uq_notification_deliveries_bundle ON valhalla.notification_deliveries (bundle)
        WHERE bundle IS NOT NULL AND status = 'pending'
    """,
    """
    CREATE UNIQUE INDEX uq_notification_deliveries_dedup ON valhalla.notification_deliveries (dedup)
        WHERE dedup IS NOT NULL
    """,
    """
    CREATE INDEX ix_notification_deliveries_rule ON valhalla.notification_deliveries (rule, channel, created_at)
        WHERE rule IS NOT NULL
    """,
    """
    CREATE TABLE valhalla.notification_attempts (
        delivery text NOT NULL,
        number integer NOT NULL,
        at timestamptz NOT NULL,
        seconds double precision NOT NULL,
        outcome text NOT NULL,
        status integer,
        error text,
        excerpt text,
        CONSTRAINT pk_notification_attempts PRIMARY KEY (delivery, number)
    )
    """,
    """
    CREATE TABLE valhalla.notification_channels (
        channel text CONSTRAINT pk_notification_channels PRIMARY KEY,
        failures integer NOT NULL,
        failing_since timestamptz,
        paused_until timestamptz,
        told boolean NOT NULL,
        last_error text,
        delivered_at timestamptz,
        updated_at timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE valhalla.notification_events (
        event_id bigint CONSTRAINT pk_notification_events PRIMARY KEY,
        at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX ix_notification_events_at ON valhalla.notification_events (at)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in ("notification_events", "notification_channels", "notification_attempts", "notification_deliveries"):
        op.execute(f"DROP TABLE valhalla.{table}")
