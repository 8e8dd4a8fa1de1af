"""Workers that shall take no more jobs."""

from __future__ import annotations

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # by the name of the worker's heartbeat: it stays drained when its process starts again
    op.execute(
        """
        CREATE TABLE valhalla.worker_drains (
            worker text CONSTRAINT pk_worker_drains PRIMARY KEY,
            asked_by text NOT NULL,
            reason text NOT NULL,
            asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            seen_at timestamptz,
            running integer,
            drained_at timestamptz
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE valhalla.worker_drains")
