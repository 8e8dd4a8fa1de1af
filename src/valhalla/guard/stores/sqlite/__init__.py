"""The SQLite store: one file, no server; rows survive the process, and processes on one machine share it."""

from valhalla.guard.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
