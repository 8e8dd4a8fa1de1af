"""How a sandbox has a route: all of its events, or copies of a part of them."""

from __future__ import annotations

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let routes that exist be what they were: all events."""
    op.execute(
        """
        ALTER TABLE valhalla.sandbox_routes
            ADD COLUMN mode text NOT NULL DEFAULT 'steal'
                CONSTRAINT ck_sandbox_routes_mode CHECK (mode IN ('steal', 'mirror')),
            ADD COLUMN sample double precision NOT NULL DEFAULT 1
                CONSTRAINT ck_sandbox_routes_sample CHECK (sample >= 0 AND sample <= 1)
        """
    )


def downgrade() -> None:
    """Forget the terms."""
    op.execute("ALTER TABLE valhalla.sandbox_routes DROP COLUMN mode, DROP COLUMN sample")
