"""Which arena databases there are, and which of them takes new sandboxes."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE valhalla.arenas (
            number integer CONSTRAINT pk_arenas PRIMARY KEY,
            name text NOT NULL CONSTRAINT uq_arenas_name UNIQUE,
            status text NOT NULL CONSTRAINT ck_arenas_status CHECK (status IN ('open', 'closed', 'dropped')),
            opened_at timestamptz NOT NULL,
            closed_at timestamptz,
            dropped_at timestamptz
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX uq_arenas_open ON valhalla.arenas (status) WHERE status = 'open'")
    op.execute("CREATE INDEX ix_sandboxes_arena ON valhalla.sandboxes (pg_database, created_at)")


def downgrade() -> None:
    op.execute("DROP INDEX valhalla.ix_sandboxes_arena")
    op.execute("DROP TABLE valhalla.arenas")
