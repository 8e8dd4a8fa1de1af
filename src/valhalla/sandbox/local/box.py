"""The box: one isolated SQLite database, in memory or in a file, gone at the end."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from valhalla.kernel.problems import Conflict
from valhalla.sandbox.local.contents import Contents, Seed, pristine
from valhalla.sandbox.local.folders import Folder, sweep
from valhalla.sandbox.local.opening import BUSY_MS, open_connection, open_engine

if TYPE_CHECKING:
    from sqlalchemy import Engine

_STEP_S: Final = 0.002


class BoxBusy(Conflict):
    """A transaction was open for longer than ``reset`` waits."""

    code = "box-busy"
    title = "A transaction is open in the box"
    help = "Commit or roll back what is open, close unfinished cursors, and reset again."


def local(
    template: Contents = "community", *, path: str | os.PathLike[str] | None = None, seed: Seed | None = None
) -> Box:
    """Make an isolated SQLite database without any server: in memory, or in a private folder below ``path``.

    It holds ``template`` (``community``, ``empty``, a path, or a list of SQL and paths), then ``seed``. Use it in a
    ``with`` block, or end it with ``close``; one that is forgotten ends with the program.

    Raises:
        TemplateUnknown: no built-in template has this name, or a path does not exist.
        TemplateFailed: a file or statement failed; names it.
        OSError: no folder can be made below ``path``.
    """
    return Box(pristine(template, seed), None if path is None else Path(path))


class Box:
    """One isolated SQLite database; made by ``local``."""

    path: Path | None
    """The database file; None in memory."""
    url: str
    """``sqlite:///…``, for SQLAlchemy. In memory it reaches the box from this process alone."""

    def __init__(self, template: sqlite3.Connection, parent: Path | None) -> None:
        """Take over ``template`` as what ``reset`` returns to."""
        self._template = template
        self._turn = threading.Lock()
        self._handed: weakref.WeakSet[sqlite3.Connection] = weakref.WeakSet()
        self._engines: list[Engine] = []
        folder: Folder | None = None
        if parent is None:
            self.path = None
            # The memdb VFS, not cache=shared: a shared cache answers "table is locked" at once when another
            # connection writes, and no busy_timeout helps; here connections wait for each other as in a file.
            self._uri = f"file:/vh-box-{secrets.token_hex(8)}?vfs=memdb"
            self.url = f"sqlite:///{self._uri}&uri=true"
        else:
            sweep(parent)
            folder = Folder(parent)
            self.path = folder.path / "db.sqlite"
            # before SQLite makes it with the umask's mode; WAL and SHM files take over the mode of the database
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self._uri = f"{self.path.as_uri()}?mode=rw"
            self.url = f"sqlite:///{self.path}"
        self._end = weakref.finalize(self, _end, os.getpid(), self._handed, self._engines, [template], folder)
        try:
            # held until the end: a memory database lives as long as one connection to it
            self._holder = self.connect()
            if self.path is not None:
                # stays in the file's header: whoever opens the URL has it too
                self._holder.execute("PRAGMA journal_mode = WAL")
            self.reset()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self) -> sqlite3.Connection:
        """Open a connection of your own: foreign keys on, WAL (in a file), 5 s of patience with other writers.

        Raises:
            sqlite3.OperationalError: the box has ended.
        """
        if not self._end.alive:
            raise sqlite3.OperationalError("the box has ended")
        # The file ends with its program, so it need not outlive a power failure; a killed program loses nothing.
        # Memory has no disk, and to ask for it would wait for whoever is writing.
        connection = open_connection(self._uri, durable=self.path is None)
        self._handed.add(connection)
        return connection

    def engine(self, **options: Any) -> Engine:
        """Make a SQLAlchemy engine on the box; every session has its own connection and transaction.

        ``options`` go to ``create_engine``. Disposed of at the end of the box.

        Raises:
            ImportError: SQLAlchemy is not installed.
        """
        engine = open_engine(self.url, self.connect, options)
        self._engines.append(engine)
        return engine

    def reset(self) -> None:
        """Return to the template and the seed; open connections stay and see it. A copy of the pages: no SQL runs.

        Raises:
            BoxBusy: a write (in memory: any) transaction stayed open for 5 s. Nothing was changed.
        """
        with self._turn, self._patience() as progress:
            self._template.backup(self._holder, progress=progress, sleep=_STEP_S)

    def snapshot(self, path: str | os.PathLike[str]) -> Path:
        """Copy what is committed to a new file of mode 0600, which ``local(Path(…))`` starts from; return its path.

        Raises:
            FileExistsError: there is a file of this name.
            OSError: it cannot be made.
            BoxBusy: a transaction was being written for 5 s; no file is left.
        """
        target = Path(path).absolute()
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            copy = sqlite3.connect(target)
            try:
                with self._turn, self._patience() as progress:
                    self._holder.backup(copy, progress=progress, sleep=_STEP_S)
                # one file that can be copied and read anywhere, not three
                copy.execute("PRAGMA journal_mode = DELETE")
            finally:
                copy.close()
        except BaseException:
            target.unlink()
            raise
        return target

    def close(self) -> None:
        """End the box: close its connections and engines and remove its files. Does nothing the second time."""
        self._end()

    @contextmanager
    def _patience(self) -> Generator[Any]:
        """Bound a copy: by itself it would retry for ever while somebody else holds a lock."""
        end = time.monotonic() + BUSY_MS / 1000

        def progress(status: int, remaining: int, total: int) -> None:
            if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} and time.monotonic() > end:
                raise TimeoutError

        # the retries wait, not each of them
        self._holder.execute("PRAGMA busy_timeout = 0")
        try:
            yield progress
        except TimeoutError as error:
            raise BoxBusy(f"a transaction stayed open for {BUSY_MS / 1000:g} s") from error
        finally:
            self._holder.execute(f"PRAGMA busy_timeout = {BUSY_MS}")


def _end(
    owner: int,
    handed: weakref.WeakSet[sqlite3.Connection],
    engines: list[Engine],
    own: list[sqlite3.Connection],
    folder: Folder | None,
) -> None:
    if os.getpid() != owner:
        # a fork of the owner: the box is not its own
        return
    for engine in engines:
        engine.dispose()
    for connection in [*handed, *own]:
        connection.close()
    if folder is not None:
        folder.remove()
