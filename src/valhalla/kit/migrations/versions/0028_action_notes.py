"""What people add to requested actions: comments, evidence, that nobody has answered."""

from __future__ import annotations

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE valhalla.action_notes (
        id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_action_notes PRIMARY KEY,
        action text NOT NULL,
        kind text NOT NULL,
        by text NOT NULL,
        at timestamptz NOT NULL,
        text text NOT NULL,
        name text,
        media_type text,
        size integer,
        sha256 text,
        content bytea
    )
    """,
    "CREATE INDEX ix_action_notes_action ON valhalla.action_notes (action, kind, id)",
    "CREATE UNIQUE INDEX uq_action_notes_escalation ON valhalla.action_notes (action) WHERE kind = 'escalation'",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE valhalla.action_notes")
