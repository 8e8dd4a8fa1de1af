"""The Postgres slice: a schema owned by its own login role, in a hardened arena database."""

from valhalla.sandbox.slices.postgres.bootstrap import Bootstrap, bootstrap, is_bootstrapped
from valhalla.sandbox.slices.postgres.roles import PostgresLimits
from valhalla.sandbox.slices.postgres.slice import PostgresSlice

__all__ = ["Bootstrap", "PostgresLimits", "PostgresSlice", "bootstrap", "is_bootstrapped"]
