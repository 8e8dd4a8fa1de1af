"""Secrets that wait, sealed, for the one who asked for them."""

from __future__ import annotations

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE valhalla.handouts (
            id text NOT NULL CONSTRAINT pk_handouts PRIMARY KEY,
            owner text NOT NULL,
            action text NOT NULL,
            subject text NOT NULL,
            sealed bytea NOT NULL,
            made_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX ix_handouts_owner ON valhalla.handouts (owner, expires_at)")


def downgrade() -> None:
    op.execute("DROP TABLE valhalla.handouts")
