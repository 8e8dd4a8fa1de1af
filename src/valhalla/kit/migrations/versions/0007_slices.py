"""Which slices a sandbox has: until now every one had all three."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # the default is what a slot of the pool has
    op.execute(
        "ALTER TABLE valhalla.sandboxes ADD COLUMN slices text[] NOT NULL DEFAULT '{postgres,valkey,nats}'"
        " CONSTRAINT ck_sandboxes_slices CHECK (cardinality(slices) > 0)"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE valhalla.sandboxes DROP COLUMN slices")
