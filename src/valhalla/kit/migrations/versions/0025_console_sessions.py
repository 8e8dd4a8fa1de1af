"""Who is signed in to the console, and links that sign in once: hashes only, gone when they expire."""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE valhalla.console_sessions (
            digest text COLLATE "C" PRIMARY KEY,
            kind text NOT NULL CHECK (kind IN ('session', 'link')),
            client_id text COLLATE "C" NOT NULL,
            key_digest text COLLATE "C" NOT NULL,
            created_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX ix_console_sessions_expires ON valhalla.console_sessions (expires_at)")


def downgrade() -> None:
    op.execute("DROP TABLE valhalla.console_sessions")
