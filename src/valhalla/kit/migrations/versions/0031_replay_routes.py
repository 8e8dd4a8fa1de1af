"""Routes that only let production's events be read again: nothing of them is live."""

from __future__ import annotations

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE valhalla.sandbox_routes
            DROP CONSTRAINT ck_sandbox_routes_mode,
            ADD CONSTRAINT ck_sandbox_routes_mode CHECK (mode IN ('steal', 'mirror', 'replay'))
        """
    )


def downgrade() -> None:
    op.execute(
        """
        DELETE FROM valhalla.sandbox_routes WHERE mode = 'replay';
        ALTER TABLE valhalla.sandbox_routes
            DROP CONSTRAINT ck_sandbox_routes_mode,
            ADD CONSTRAINT ck_sandbox_routes_mode CHECK (mode IN ('steal', 'mirror'))
        """
    )
