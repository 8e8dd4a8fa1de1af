"""When each API key was last used: beside the registry, because a use is no change of the key."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE valhalla.client_usage (
            client_id text COLLATE "C" PRIMARY KEY,
            last_used_at timestamptz NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX ix_client_usage_last ON valhalla.client_usage (last_used_at)")


def downgrade() -> None:
    op.execute("DROP TABLE valhalla.client_usage")
