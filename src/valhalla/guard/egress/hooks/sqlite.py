"""SQLite: an authorizer lets statements read only. It is asked when a statement is prepared, also a cached one."""

from __future__ import annotations

import functools
import os
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from valhalla.guard.egress.current import active
from valhalla.guard.egress.hooks.patching import Patches, protocol

if TYPE_CHECKING:
    from types import ModuleType

    from valhalla.guard.egress.seal import Seal

_READS: Final = frozenset(
    {
        *(sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE),
        *(sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT),
    }
)
_ACTIONS: Final = {
    getattr(sqlite3, f"SQLITE_{name}"): name.replace("_", " ")
    for name in (
        *("INSERT", "UPDATE", "DELETE", "PRAGMA", "ATTACH", "DETACH", "ALTER_TABLE", "REINDEX", "ANALYZE"),
        *("CREATE_TABLE", "CREATE_INDEX", "CREATE_VIEW", "CREATE_TRIGGER", "DROP_TABLE", "DROP_INDEX", "DROP_VIEW"),
        *("DROP_TRIGGER", "CREATE_VTABLE", "DROP_VTABLE"),
    )
}
_FREE_PRAGMAS: Final = frozenset({"table_info", "table_xinfo", "table_list", "index_list", "foreign_keys", "encoding"})


def watch(seal: Seal, connection: sqlite3.Connection) -> None:
    """Let the connection read only while it is used inside of a seal."""
    path = _file(connection)
    # a database in memory is nobody else's
    if path == "":
        return

    def judge(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
        del second, trigger
        held = active()
        if held is None or action in _READS or database == "temp":
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_PRAGMA and first in _FREE_PRAGMAS:
            return sqlite3.SQLITE_OK
        # the catalogue's own rows, which only schema statements write: those are judged by themselves
        if first in ("sqlite_master", "sqlite_schema") and action in _ACTIONS:
            return sqlite3.SQLITE_OK
        allowed = held.tell_change(f"SQLite {_name(action)} {first or ''}".strip(), path)
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    connection.set_authorizer(judge)
    seal.at_exit(lambda: _free(connection))


def _connect(original: Any) -> Any:
    @functools.wraps(original)
    def connect(*args: Any, **kwargs: Any) -> Any:
        connection = original(*args, **kwargs)
        if (seal := protocol()) is not None and isinstance(connection, sqlite3.Connection):
            watch(seal, connection)
        return connection

    return connect


def sqlite(patches: Patches, module: ModuleType) -> None:
    """Hook the standard library's ``connect``, under one of its names: the audit event comes before it can be used."""
    patches.replace(module, "connect", _connect)


def _free(connection: sqlite3.Connection) -> None:
    try:
        connection.set_authorizer(None)
    except sqlite3.Error:
        # closed, or of another thread: there the authorizer lets everything through outside of seals
        return


def _file(connection: sqlite3.Connection) -> str:
    try:
        rows: list[Any] = connection.execute("PRAGMA database_list").fetchall()
    except sqlite3.Error:
        return "?"
    main = next((str(row[2] or "") for row in rows if row[1] == "main"), "")
    return os.path.abspath(main) if main else ""  # noqa: PTH100 - text, not the file system


def _name(action: int) -> str:
    return _ACTIONS.get(action, f"action {action}")
