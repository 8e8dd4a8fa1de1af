"""Who did it, and the name of a job, are looked for among a million rows: without an index a page reads them all."""

from __future__ import annotations

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX ix_ledger_entries_actor ON valhalla.ledger_entries (actor, id)")
    op.execute("CREATE INDEX ix_jobs_name ON valhalla.jobs (name, id)")


def downgrade() -> None:
    op.execute("DROP INDEX valhalla.ix_jobs_name")
    op.execute("DROP INDEX valhalla.ix_ledger_entries_actor")
