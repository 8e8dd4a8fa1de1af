"""The guard's schema again: where the ledger stands, and claims that tell whose they are."""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # by name: this floor must not import the guard's
    schema = import_module("valhalla.guard.stores.postgres.schema")
    op.get_bind().exec_driver_sql(schema.ddl())


def downgrade() -> None:
    op.execute("DROP TABLE valhalla_guard.carried")
