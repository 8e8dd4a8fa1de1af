"""Samples of the control plane's numbers, and what its readiness writes and reads back."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE valhalla.metrics_snapshots (
        source text NOT NULL,
        at timestamptz NOT NULL,
        numbers jsonb NOT NULL,
        CONSTRAINT pk_metrics_snapshots PRIMARY KEY (source, at)
    )
    """,
    "CREATE INDEX ix_metrics_snapshots_at ON valhalla.metrics_snapshots (at)",
    """
    CREATE TABLE valhalla.health_marks (
        token text CONSTRAINT pk_health_marks PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE valhalla.health_marks")
    op.execute("DROP TABLE valhalla.metrics_snapshots")
