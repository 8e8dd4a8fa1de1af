"""psycopg and asyncpg: connections by their endpoint, statements by their text, transactions READ ONLY."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from valhalla.guard.egress import excerpts
from valhalla.guard.egress.contracts import Layer
from valhalla.guard.egress.endpoints import UNIX
from valhalla.guard.egress.hooks.patching import Patches, before, protocol
from valhalla.guard.egress.statements import only_reads

if TYPE_CHECKING:
    from types import ModuleType

    from valhalla.guard.egress.seal import Seal

Endpoint = tuple[str, int | None]


def judge(seal: Seal, sql: str, endpoint: Endpoint) -> bool:
    """Judge a statement and say whether its transaction has to be READ ONLY.

    Raises:
        EgressBlocked: it does not only read, and its server is not allowed.
    """
    if seal.may_send(*endpoint):
        return False
    first = sql.split(None, 1)[0].upper()[:20] if sql.strip() else "SQL"
    where = f"{endpoint[0]}:{endpoint[1]}" if endpoint[1] else endpoint[0]
    size = len(sql.encode(errors="replace"))
    seal.request(f"SQL {first}", where, endpoint, reads=only_reads(sql), size=size, body=excerpts.words(sql))
    return True


def of_psycopg(connection: Any) -> Endpoint:
    """Return where an open connection leads."""
    try:
        info = connection.info
        host, port = info.hostaddr or info.host, info.port
    except Exception:  # noqa: BLE001 - a broken connection leads nowhere
        return "?", None
    return (f"{UNIX}{host}/.s.PGSQL.{port}", None) if host.startswith("/") else (host, port)


def of_asyncpg(connection: Any) -> Endpoint:
    """Return where an open connection leads."""
    address = getattr(connection, "_addr", None)
    if isinstance(address, str):
        return UNIX + address, None
    return (str(address[0]), int(address[1])) if address else ("?", None)


def _text(query: Any, connection: Any) -> str:
    if isinstance(query, bytes):
        return query.decode(errors="replace")
    return query.as_string(connection) if hasattr(query, "as_string") else str(query)


def _connect(seal: Seal, cls: Any, conninfo: str = "", *args: Any, **kwargs: Any) -> None:
    from psycopg.conninfo import conninfo_to_dict

    del cls, args, kwargs
    options = conninfo_to_dict(conninfo)
    hosts = str(options.get("hostaddr") or options.get("host") or os.environ.get("PGHOST") or "/var/run/postgresql")
    ports = str(options.get("port") or os.environ.get("PGPORT") or 5432).split(",")
    for index, host in enumerate(hosts.split(",")):
        port = int(ports[index if len(ports) > 1 else 0] or 5432)
        local = host.startswith(("/", "@"))
        where = (f"{UNIX}{host}/.s.PGSQL.{port}", None) if local else (host, port)
        seal.connection("connect", where, layer=Layer.PROTOCOL)


def _cursor(seal: Seal, cursor: Any, query: Any, *args: Any, **kwargs: Any) -> None:
    del args, kwargs
    judge(seal, _text(query, cursor.connection), of_psycopg(cursor.connection))


def _needs_read_only(seal: Seal, cursor: Any, query: Any) -> bool:
    connection = cursor.connection
    confined = judge(seal, _text(query, connection), of_psycopg(connection))
    # a transaction that the caller began before is the caller's; without one there is nothing to confine
    return confined and not connection.autocommit and connection.info.transaction_status == 0


def _execute(original: Any) -> Any:
    @functools.wraps(original)
    def execute(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        seal = protocol()
        if seal is not None and _needs_read_only(seal, cursor, query):
            original(cursor.connection.cursor(), "SET TRANSACTION READ ONLY")
        return original(cursor, query, *args, **kwargs)

    return execute


def _aexecute(original: Any) -> Any:
    @functools.wraps(original)
    async def execute(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        seal = protocol()
        if seal is not None and _needs_read_only(seal, cursor, query):
            await original(cursor.connection.cursor(), "SET TRANSACTION READ ONLY")
        return await original(cursor, query, *args, **kwargs)

    return execute


def psycopg(patches: Patches, module: ModuleType) -> None:
    """Hook psycopg 3, whose C library connects and sends without telling the interpreter."""
    # what connect() calls for every address, also under a name that somebody took before
    patches.replace(module.BaseConnection, "_connect_gen", before(_connect))
    patches.replace(module.Cursor, "execute", _execute)
    patches.replace(module.AsyncCursor, "execute", _aexecute)
    for cursor in (module.Cursor, module.AsyncCursor):
        for name in ("executemany", "stream", "copy"):
            patches.replace(cursor, name, before(_cursor))
    for cursor in (module.ServerCursor, module.AsyncServerCursor):
        patches.replace(cursor, "execute", before(_cursor))


def _query(seal: Seal, connection: Any, query: Any, *args: Any, **kwargs: Any) -> None:
    del args, kwargs
    judge(seal, str(query), of_asyncpg(connection))


def _copy(what: str) -> Any:
    def check(seal: Seal, connection: Any, table: Any = "", *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        judge(seal, f"{what} {table}", of_asyncpg(connection))

    return check


def asyncpg(patches: Patches, module: ModuleType) -> None:
    """Hook asyncpg's statements; its connections are the event loop's."""
    for name in ("execute", "executemany", "fetch", "fetchrow", "fetchval", "fetchmany", "prepare", "cursor"):
        patches.replace(module.Connection, name, before(_query))
    patches.replace(module.Connection, "copy_to_table", before(_copy("COPY INTO")))
    patches.replace(module.Connection, "copy_records_to_table", before(_copy("COPY INTO")))
    patches.replace(module.Connection, "add_listener", before(_copy("LISTEN")))
