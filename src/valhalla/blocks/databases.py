"""The kinds of database behind a ``SandboxDatabaseManager``. SQLAlchemy is imported by who asks for an engine."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from valhalla.blocks.addresses import Address
from valhalla.blocks.errors import ProductionDatabase
from valhalla.kernel.problems import Unavailable
from valhalla.kit.redact import text
from valhalla.sandbox.errors import TemplateFailed
from valhalla.sandbox.local import Box, local
from valhalla.sandbox.local.opening import open_connection, open_engine

if TYPE_CHECKING:
    from sqlalchemy import Engine

_RAM: Final = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
_ENOUGH: Final = 128 * 2**20
_LOOK_MS: Final = 200
_CONNECT_S: Final = 5


class Database(Protocol):
    """What a manager needs of a database."""

    url: str
    shown: str
    disposable: bool

    def engine(self) -> Engine:
        """Make the engine; each connection of it has a transaction of its own."""
        ...

    def probe(self) -> str | None:
        """Write something, read it back, and take it back; return a remark.

        Raises:
            Unavailable: that failed.
        """
        ...

    def clear(self, engine: Engine) -> None:
        """Drop everything in it."""
        ...

    def run(self, engine: Engine, script: str, name: str) -> None:
        """Run an SQL script, whole or not at all.

        Raises:
            TemplateFailed: a statement failed; says so of ``name``.
            Unavailable: the database cannot be reached.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Ram:
    """A private SQLite in memory: a file in a folder of RAM, where readers need not wait for a writer."""

    url = "sqlite:///:memory:"
    shown = url
    disposable = True

    def __init__(self) -> None:
        self._box: Box = local("empty", path=_folder())

    def engine(self) -> Engine:
        """Make the engine."""
        return self._box.engine()

    def probe(self) -> str | None:
        """Write and read back."""
        with closing(_opened(self._box.connect)) as connection:
            return _probe_sqlite(connection)

    def clear(self, engine: Engine) -> None:
        """Return to nothing; sessions that are open stay."""
        self._box.reset()

    def run(self, engine: Engine, script: str, name: str) -> None:
        """Run a script."""
        _run_sqlite(engine, script, name)

    def close(self) -> None:
        """Remove it."""
        self._box.close()


class File:
    """A SQLite file; made if it does not exist."""

    def __init__(self, address: Address, *, disposable: bool) -> None:
        self.url, self.shown, self.disposable = address.url, address.shown, disposable
        self._path = Path(address.database).absolute()

    def _connect(self) -> sqlite3.Connection:
        connection = open_connection(f"{self._path.as_uri()}?mode=rwc")
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except BaseException:
            connection.close()
            raise
        return connection

    def engine(self) -> Engine:
        """Make the engine."""
        return open_engine(self.url, self._connect, {"hide_parameters": True})

    def probe(self) -> str | None:
        """Write and read back."""
        with closing(_opened(self._connect)) as connection:
            return _probe_sqlite(connection)

    def clear(self, engine: Engine) -> None:
        """Drop everything in it."""
        with closing(self._connect()) as connection:
            # off, or tables could only be dropped in the order of their references
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.isolation_level = None
            connection.execute("BEGIN IMMEDIATE")
            rows = connection.execute(
                "SELECT type, name FROM sqlite_master WHERE type IN ('view', 'table') AND name NOT LIKE 'sqlite\\_%'"
                " ESCAPE '\\' ORDER BY type DESC"
            ).fetchall()
            for kind, name in rows:
                quoted = name.replace('"', '""')
                connection.execute(f'DROP {kind.upper()} IF EXISTS "{quoted}"')
            connection.execute("COMMIT")

    def run(self, engine: Engine, script: str, name: str) -> None:
        """Run a script."""
        _run_sqlite(engine, script, name)

    def close(self) -> None:
        """Nothing is held."""


class Server:
    """A PostgreSQL database; the schema that comes first in its search path is what a manager works in."""

    def __init__(self, address: Address, *, disposable: bool) -> None:
        self.url, self.shown, self.disposable = address.url, address.shown, disposable

    def engine(self) -> Engine:
        """Make the engine; a database that says of itself that it is production is not opened."""
        from sqlalchemy import create_engine, event

        engine = create_engine(
            self.url, pool_pre_ping=True, hide_parameters=True, connect_args={"connect_timeout": _CONNECT_S}
        )

        def look(connection: Any, _record: object) -> None:
            try:
                self._look(connection)
            except BaseException:
                # a pool does not close what it could not take
                connection.close()
                raise

        event.listen(engine, "connect", look)
        return engine

    def _look(self, connection: Any) -> None:
        (mark,) = connection.execute("SELECT current_setting('valhalla.environment', true)").fetchone()
        connection.rollback()
        if (mark or "").lower() in {"prod", "production"}:
            raise ProductionDatabase(f"{self.shown} says of itself that it is {mark} (valhalla.environment)")

    def probe(self) -> str | None:
        """Write and read back, on a connection of its own: a pool in use is no failure."""
        import psycopg

        try:
            with psycopg.connect(self.url.replace("+psycopg", "", 1), connect_timeout=_CONNECT_S) as connection:
                self._look(connection)
                try:
                    seen = _probe_postgres(connection, "TABLE")
                except psycopg.errors.InsufficientPrivilege:
                    # who may not make tables may still work in those that are there
                    connection.rollback()
                    seen = _probe_postgres(connection, "TEMP TABLE")
                connection.rollback()
        except psycopg.Error as error:
            raise Unavailable("postgres", f"{self.shown}: {text(str(error).strip(), limit=300)}") from error
        if seen != (7,):
            raise Unavailable("postgres", f"{self.shown} does not give back what was written")
        return None

    def clear(self, engine: Engine) -> None:
        """Drop everything in the schema."""
        self.run(engine, (Path(__file__).parent / "clear.sql").read_text(), "reset")

    def run(self, engine: Engine, script: str, name: str) -> None:
        """Run a script: a text without parameters is one message, and may hold several statements."""
        import psycopg
        from sqlalchemy.exc import SQLAlchemyError

        try:
            connection = engine.raw_connection()
        except (psycopg.Error, SQLAlchemyError) as error:
            raise Unavailable("postgres", f"{self.shown}: {text(str(error).strip(), limit=300)}") from error
        try:
            with closing(connection.cursor()) as cursor:
                cursor.execute(script)
            connection.commit()
        except psycopg.Error as error:
            raise TemplateFailed(f"{name}: {error}", file=name) from error
        finally:
            # given back to its pool, which rolls back what failed
            connection.close()

    def close(self) -> None:
        """Nothing is held."""


def _folder() -> Path:
    try:
        roomy = shutil.disk_usage(_RAM).free >= _ENOUGH
        with tempfile.TemporaryFile(dir=_RAM):
            return _RAM if roomy else Path(tempfile.gettempdir())
    except OSError:
        return Path(tempfile.gettempdir())


def _opened(connect: Any) -> sqlite3.Connection:
    try:
        return connect()
    except sqlite3.Error as error:
        raise Unavailable("sqlite", f"the database cannot be opened: {error}") from error


def _probe_postgres(connection: Any, kind: str) -> Any:
    connection.execute(f"CREATE {kind} valhalla_probe (v int)")
    connection.execute("INSERT INTO valhalla_probe VALUES (7)")
    return connection.execute("SELECT v FROM valhalla_probe").fetchone()


def _probe_sqlite(connection: sqlite3.Connection) -> str | None:
    connection.isolation_level = None
    try:
        connection.execute(f"PRAGMA busy_timeout = {_LOOK_MS}")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                # somebody writes at this moment: better evidence than ours
                return "another transaction is being written"
            raise
        connection.execute("CREATE TABLE valhalla_probe (v)")
        connection.execute("INSERT INTO valhalla_probe VALUES (7)")
        seen = connection.execute("SELECT v FROM valhalla_probe").fetchone()
        connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise Unavailable("sqlite", f"the database cannot be written: {error}") from error
    if seen != (7,):
        raise Unavailable("sqlite", "the database does not give back what was written")
    return None


def _run_sqlite(engine: Engine, script: str, name: str) -> None:
    raw = engine.raw_connection()
    try:
        connection: Any = raw.driver_connection
        try:
            connection.executescript(f"BEGIN;\n{script}\n;COMMIT;")
        except sqlite3.Error as error:
            connection.rollback()
            raise TemplateFailed(f"{name}: {error}", file=name) from error
    finally:
        raw.close()
