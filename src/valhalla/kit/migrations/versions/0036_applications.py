"""Applications that follow the control plane, and what of it they cannot enforce."""

from __future__ import annotations

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE valhalla.applications (
            client_id text COLLATE "C" NOT NULL,
            instance text COLLATE "C" NOT NULL,
            name text NOT NULL,
            host text NOT NULL,
            release text NOT NULL,
            revision text,
            blocklist bigint,
            lacks jsonb NOT NULL,
            first_seen_at timestamptz NOT NULL,
            seen_at timestamptz NOT NULL,
            CONSTRAINT pk_applications PRIMARY KEY (client_id, instance)
        )
        """
    )
    op.execute("CREATE INDEX ix_applications_seen ON valhalla.applications (seen_at)")


def downgrade() -> None:
    op.execute("DROP TABLE valhalla.applications")
