"""SQLAlchemy: statements by their text on any database, and READ ONLY transactions on PostgreSQL."""

from __future__ import annotations

import functools
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from valhalla.guard.egress.hooks import postgres, sqlite
from valhalla.guard.egress.hooks.patching import Patches, before, protocol

if TYPE_CHECKING:
    from types import ModuleType

    from valhalla.guard.egress.seal import Seal

_PORTS: Final = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433, "oracle": 1521}


def _statement(seal: Seal, dialect: Any, cursor: Any, statement: Any, *args: Any, **kwargs: Any) -> None:
    context = kwargs.get("context") or next((arg for arg in reversed(args) if hasattr(arg, "root_connection")), None)
    connection = None if context is None else context.root_connection
    del cursor
    if dialect.name == "sqlite":
        # the authorizer knows more than a text, and which file it is
        return
    postgres.judge(seal, str(statement), _endpoint(dialect, connection))


def _endpoint(dialect: Any, connection: Any) -> tuple[str, int | None]:
    if connection is None:
        return "?", None
    driver = connection.connection.driver_connection
    module = type(driver).__module__.partition(".")[0]
    if module in ("psycopg", "asyncpg"):
        return (postgres.of_psycopg if module == "psycopg" else postgres.of_asyncpg)(driver)
    url = connection.engine.url
    return str(url.host or "?"), url.port or _PORTS.get(dialect.name)


def _begin(original: Any) -> Any:
    @functools.wraps(original)
    def begin(dialect: Any, connection: Any) -> None:
        original(dialect, connection)
        seal = protocol()
        if seal is None:
            return
        driver = getattr(connection, "driver_connection", None)
        if isinstance(driver, sqlite3.Connection):
            sqlite.watch(seal, driver)
        elif dialect.name == "postgresql" and not getattr(connection, "autocommit", False):
            module = type(driver).__module__.partition(".")[0]
            where = postgres.of_asyncpg if module == "asyncpg" else postgres.of_psycopg
            if not seal.may_send(*where(driver)):
                cursor = connection.cursor()
                cursor.execute("SET TRANSACTION READ ONLY")
                cursor.close()

    return begin


def sqlalchemy(patches: Patches, module: ModuleType) -> None:
    """Hook the dialects: an event listener cannot be removed while other threads fire the event."""
    for dialect in _family(module.DefaultDialect):
        own = vars(dialect)
        for name in ("do_execute", "do_executemany", "do_execute_no_params"):
            if name in own:
                patches.replace(dialect, name, before(_statement))
        if "do_begin" in own:
            patches.replace(dialect, "do_begin", _begin)


def _family(cls: type[Any]) -> list[type[Any]]:
    return [cls, *(member for child in cls.__subclasses__() for member in _family(child))]
