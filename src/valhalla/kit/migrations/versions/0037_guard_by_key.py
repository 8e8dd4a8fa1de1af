"""The guard's functions again: a batch finds what it ends by its key alone."""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # by name: this floor must not import the guard's
    schema = import_module("valhalla.guard.stores.postgres.schema")
    op.get_bind().exec_driver_sql(schema.ddl())


def downgrade() -> None:
    """Leave the functions: an earlier release brings its own again."""
