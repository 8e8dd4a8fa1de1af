"""Connections and engines on one SQLite database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sqlalchemy import Connection as SqlConnection
    from sqlalchemy import Engine

BUSY_MS: Final = 5000


class Connection(sqlite3.Connection):
    """A connection that its box can find and close; the built-in class takes no weak reference."""


def open_connection(uri: str, *, durable: bool = True) -> sqlite3.Connection:
    """Connect with foreign keys on and 5 s of patience with other writers; ``durable=False`` never waits for the disk.

    May be passed between threads, but not used by two at once.

    Raises:
        sqlite3.OperationalError: the database cannot be opened; it is never created here.
    """
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_MS / 1000, check_same_thread=False, factory=Connection)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        if not durable:
            connection.execute("PRAGMA synchronous = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def open_engine(url: str, creator: Callable[[], sqlite3.Connection], options: dict[str, Any]) -> Engine:
    """Make an engine whose every session has a connection, and so a transaction, of its own."""
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import QueuePool

    engine = create_engine(url, **{"creator": creator, "poolclass": QueuePool, **options})

    def begin(connection: SqlConnection) -> None:
        # sqlite3 itself begins at the first write only: reads before it would see others' commits in between,
        # and a SAVEPOINT would not nest. Without an isolation level the caller asked for AUTOCOMMIT.
        raw: Any = connection.connection.dbapi_connection
        if raw.isolation_level is not None:
            connection.exec_driver_sql("BEGIN")

    event.listen(engine, "begin", begin)
    return engine
