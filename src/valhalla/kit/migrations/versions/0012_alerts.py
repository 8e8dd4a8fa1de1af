"""Alerts, and which events they were counted from."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE valhalla.alerts (
        id text CONSTRAINT pk_alerts PRIMARY KEY,
        fingerprint text NOT NULL CONSTRAINT uq_alerts_fingerprint UNIQUE,
        name text NOT NULL,
        source text NOT NULL,
        severity text NOT NULL
            CONSTRAINT ck_alerts_severity CHECK (severity IN ('info', 'warning', 'error', 'critical')),
        status text NOT NULL CONSTRAINT ck_alerts_status CHECK (status IN ('open', 'acknowledged', 'resolved')),
        title text NOT NULL,
        labels jsonb NOT NULL,
        context jsonb NOT NULL,
        count bigint NOT NULL,
        episodes integer NOT NULL,
        escalations integer NOT NULL,
        first_at timestamptz NOT NULL,
        opened_at timestamptz NOT NULL,
        last_at timestamptz NOT NULL,
        starts_at timestamptz NOT NULL,
        ends_at timestamptz,
        escalate_at timestamptz,
        acknowledged_at timestamptz,
        acknowledged_by text,
        resolved_at timestamptz,
        resolved_by text,
        note text
    )
    """,
    "CREATE INDEX ix_alerts_opened_at_id ON valhalla.alerts (opened_at, id)",
    "CREATE INDEX ix_alerts_source_opened_at ON valhalla.alerts (source, opened_at)",
    # what is not over is little, whatever has been
    "CREATE INDEX ix_alerts_unresolved ON valhalla.alerts (source, severity, status) WHERE status <> 'resolved'",
    "CREATE INDEX ix_alerts_escalate_at ON valhalla.alerts (escalate_at) WHERE escalate_at IS NOT NULL",
    "CREATE INDEX ix_alerts_ends_at ON valhalla.alerts (ends_at) WHERE ends_at IS NOT NULL",
    "CREATE INDEX ix_alerts_resolved_at ON valhalla.alerts (resolved_at) WHERE status = 'resolved'",
    """
    CREATE TABLE valhalla.alert_events (
        event_id bigint CONSTRAINT pk_alert_events PRIMARY KEY,
        at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX ix_alert_events_at ON valhalla.alert_events (at)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE valhalla.alert_events")
    op.execute("DROP TABLE valhalla.alerts")
