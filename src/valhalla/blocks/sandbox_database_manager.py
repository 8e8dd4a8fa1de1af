"""``SandboxDatabaseManager``: sessions on a database that nobody minds to lose."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from valhalla.blocks import addresses
from valhalla.blocks.databases import Database, File, Ram, Server
from valhalla.blocks.errors import BadDatabase, DatabaseClosed, NotDisposable
from valhalla.kit.log import get_logger
from valhalla.sandbox.errors import TemplateFailed

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session, sessionmaker

_log = get_logger("blocks.database")


class SandboxDatabaseManager:
    """Sessions of which each has a connection, and so a transaction, of its own. ``repr`` shows no password.

    In memory the database is private to this object, and ends with it or with the program.
    """

    def __init__(self, db_url: str | None = None, use_memory: bool = False, *, disposable: bool = False) -> None:
        """Open ``postgresql://…``, ``sqlite:///path``, or a database in memory. Nothing is connected yet.

        ``disposable`` says that ``reset`` may drop everything in the database of ``db_url``.

        Raises:
            BadDatabase: neither or both are given, or the address is none.
            ProductionDatabase: the address is marked as production (see ``addresses.refuse_production``).
        """
        if use_memory and db_url is not None:
            raise BadDatabase("use_memory=True and db_url= name two databases: say one of them")
        if db_url is not None:
            address = addresses.parse(db_url)
            addresses.refuse_production(address, os.environ)
            kind = File if address.kind == "sqlite" else Server
            self._database: Database = kind(address, disposable=disposable)
        elif use_memory:
            self._database = Ram()
        else:
            raise BadDatabase("say use_memory=True or db_url=: there is no default database")
        self.database_url = db_url or self._database.url
        self._engine: Engine | None = None
        self._sessions: sessionmaker[Session] | None = None
        self._open: weakref.WeakSet[Session] = weakref.WeakSet()
        self._seeds: list[str | Path | Callable[[Session], object]] = []
        self._lock = threading.RLock()
        self._closed = False
        _log.debug("a sandbox database is used", url=self._database.shown)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._database.shown!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cleanup()

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy engine, made when it is first asked for.

        Raises:
            DatabaseClosed: the manager was cleaned up.
        """
        with self._lock:
            if self._closed:
                raise DatabaseClosed(f"{self._database.shown} was cleaned up")
            if self._engine is None:
                self._engine = self._database.engine()
            return self._engine

    @property
    def SessionLocal(self) -> sessionmaker[Session]:  # noqa: N802 - its name in Batch 1
        """Makes sessions, without autoflush. Raises what ``engine`` raises."""
        with self._lock:
            if self._sessions is None or self._closed:
                # an import that takes long, and most of the memory: who needs no session does without
                from sqlalchemy.orm import sessionmaker

                self._sessions = sessionmaker(bind=self.engine, autoflush=False)
            return self._sessions

    def get_session(self) -> Session:
        """Return a session; close it, or use it in a ``with`` block. What is open at ``cleanup`` is closed there.

        Raises:
            DatabaseClosed: the manager was cleaned up.
        """
        session = self.SessionLocal()
        self._open.add(session)
        return session

    @contextmanager
    def session(self) -> Generator[Session]:
        """Give a session to a block; commit at its end, or roll back if it raises."""
        with self.get_session() as session, session.begin():
            yield session

    def probe(self) -> str | None:
        """Write something, read it back and take it back; return a remark, if there is one.

        Raises:
            DatabaseClosed: the manager was cleaned up.
            Unavailable: that failed.
        """
        if self._closed:
            raise DatabaseClosed(f"{self._database.shown} was cleaned up")
        return self._database.probe()

    def seed(self, *sources: str | Path | Callable[[Session], object]) -> None:
        """Put contents in, and remember what: ``reset`` puts them in again.

        A text is SQL, a path a file of it, a callable gets a session that is committed when it returns.

        Raises:
            TemplateFailed: a source failed, and left nothing; the ones before it stay.
            Unavailable: the database cannot be reached.
        """
        for source in sources:
            self._apply(source)
            self._seeds.append(source)

    def _apply(self, source: str | Path | Callable[[Session], object]) -> None:
        if callable(source):
            with self.session() as session:
                source(session)
            return
        name = source.name if isinstance(source, Path) else "the seed"
        try:
            script = source.read_text() if isinstance(source, Path) else source
        except (OSError, UnicodeDecodeError) as error:
            raise TemplateFailed(f"{name}: {error}", file=name) from error
        self._database.run(self.engine, script, name)

    def reset(self) -> None:
        """Drop everything, and put in again what was seeded.

        Raises:
            NotDisposable: the manager was not made with ``disposable=True``; nothing was dropped.
            BoxBusy: (in memory) a transaction stayed open for 5 s; nothing was dropped.
        """
        if not self._database.disposable:
            raise NotDisposable(f"{self._database.shown} was not declared disposable")
        self._database.clear(self.engine)
        for source in self._seeds:
            self._apply(source)

    def cleanup(self) -> None:
        """Close every session and connection; a database in memory is gone. Does nothing the second time."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for session in list(self._open):
            # another thread may be using it: then its connection is cut
            with suppress(Exception):
                session.close()
        if self._engine is not None:
            self._engine.dispose()
        self._database.close()


__all__ = ["SandboxDatabaseManager"]
