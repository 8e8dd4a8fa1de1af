"""Schedules and heartbeats."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE valhalla.schedules (
        name text CONSTRAINT pk_schedules PRIMARY KEY,
        job text NOT NULL,
        args jsonb NOT NULL,
        timing jsonb NOT NULL,
        catch_up text NOT NULL CONSTRAINT ck_schedules_catch_up CHECK (catch_up IN ('skip', 'one', 'all')),
        overlap text NOT NULL CONSTRAINT ck_schedules_overlap CHECK (overlap IN ('allow', 'skip')),
        jitter double precision NOT NULL,
        paused boolean NOT NULL,
        next_at timestamptz,
        last_at timestamptz,
        last_job text,
        last_error text,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    "CREATE INDEX ix_schedules_next_at ON valhalla.schedules (next_at) WHERE NOT paused",
    """
    CREATE TABLE valhalla.heartbeats (
        name text CONSTRAINT pk_heartbeats PRIMARY KEY,
        interval double precision NOT NULL,
        timeout double precision NOT NULL,
        status text NOT NULL CONSTRAINT ck_heartbeats_status CHECK (status IN ('waiting', 'alive', 'missed')),
        expected_since timestamptz NOT NULL,
        last_beat_at timestamptz,
        changed_at timestamptz NOT NULL
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE valhalla.heartbeats")
    op.execute("DROP TABLE valhalla.schedules")
