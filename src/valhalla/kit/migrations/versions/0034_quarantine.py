"""Since when nobody may enter a sandbox whose contents are kept."""

from __future__ import annotations

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE valhalla.sandboxes ADD COLUMN quarantined_at timestamptz")


def downgrade() -> None:
    op.execute("ALTER TABLE valhalla.sandboxes DROP COLUMN quarantined_at")
