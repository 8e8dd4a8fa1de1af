"""What concerns security, added up in five minutes each: trends without reading what happened."""

from __future__ import annotations

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE valhalla.security_rollups (
            at timestamptz NOT NULL,
            metric text NOT NULL,
            count bigint NOT NULL,
            CONSTRAINT pk_security_rollups PRIMARY KEY (at, metric)
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE valhalla.security_rollups")
