"""Unexpected errors, one row for each kind of them: what repeats is counted, not stored."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE valhalla.error_events (
        id text COLLATE "C" CONSTRAINT pk_error_events PRIMARY KEY,
        fingerprint text COLLATE "C" NOT NULL CONSTRAINT uq_error_events_fingerprint UNIQUE,
        kind text NOT NULL,
        message text NOT NULL,
        route text NOT NULL,
        place text NOT NULL,
        sample text NOT NULL,
        status text NOT NULL CONSTRAINT ck_error_events_status CHECK (status IN ('open', 'resolved', 'muted')),
        count bigint NOT NULL,
        first_at timestamptz NOT NULL,
        last_at timestamptz NOT NULL,
        last_correlation text NOT NULL,
        last_principal text,
        version text NOT NULL,
        settled_at timestamptz,
        settled_by text,
        note text
    )
    """,
    "CREATE INDEX ix_error_events_last ON valhalla.error_events (last_at DESC, id DESC)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE valhalla.error_events")
