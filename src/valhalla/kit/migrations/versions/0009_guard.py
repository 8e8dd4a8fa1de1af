"""The rows of guarded actions, from the very text that ``guard.setup()`` runs for users of the library.

A later change of that text brings its own step, which runs it again: it is written to be repeated.
"""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # by name: this floor must not import the guard's
    schema = import_module("valhalla.guard.stores.postgres.schema")
    op.get_bind().exec_driver_sql(schema.ddl())


def downgrade() -> None:
    op.execute("DROP SCHEMA valhalla_guard CASCADE")
