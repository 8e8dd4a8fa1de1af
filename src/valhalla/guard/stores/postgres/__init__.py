"""The Postgres store: rows that processes on many machines share, and effects that join the caller's transaction."""

from valhalla.guard.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
