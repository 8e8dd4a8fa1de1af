"""The Postgres slice: a schema owned by its own login role, in a hardened arena database."""

from valhalla.sandbox.slices.postgres.bootstrap import Bootstrap, bootstrap
from valhalla.sandbox.slices.postgres.slice import PostgresLimits, PostgresSlice

__all__ = ["Bootstrap", "PostgresLimits", "PostgresSlice", "bootstrap"]
