"""The SQLite store's connections: one that writes, in batches, and one that reads."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from asyncio import get_running_loop
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Final, TypeVar, cast

from valhalla.guard.codec import JsonCodec
from valhalla.guard.contracts import BeginRequest, BeginResult, CasRequest, CasResult, Page, Scan
from valhalla.guard.stores.charges import charges_of
from valhalla.guard.stores.combining import Combiner
from valhalla.guard.stores.sqlite import rows, verbs
from valhalla.kernel.problems import Unavailable

T = TypeVar("T")
Request = BeginRequest | CasRequest
Result = BeginResult | CasResult
# the file's own clock, to the millisecond: no caller brings a time along
_ADVICE: Final = "Free space on its disk or correct its path and rights; then try again."
_NOW: Final = "SELECT (julianday('now') - 2440587.5) * 86400.0"


class SqliteStore:
    """Rows in a file of its own, for the processes of one machine.

    Callers that come together share a commit. Intents of actions that cannot be repeated are synced to the disk; other
    commits may be lost in a power cut (not in a crash), which leaves an unknown end and never a second effect.
    """

    durable = True
    instant = False

    def __init__(self, path: str | Path, *, timeout: float = 5.0) -> None:
        """``path`` is made with mode 0600 when it is not there; ``timeout`` is how many seconds a locked file is tried.

        Nothing is opened before the first verb, so a store may be made before a fork.
        """
        self.codec = JsonCodec()
        self.path = Path(path)
        self._timeout = timeout
        self._combiner: Combiner[Request, Result] = Combiner(self._write, executor=self._threads)
        self._opening = threading.RLock()
        self._reading = threading.Lock()
        self._closed = False
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._full = False
        self._inherited: list[object] = []
        me = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: (store := me()) and store._forked())

    # -- verbs ---------------------------------------------------------------------------------------------------------

    def begin(self, request: BeginRequest) -> BeginResult:
        """Dedup, policy, limits, claim and ledger line as one transaction."""
        charges_of(request.takes)
        return cast("BeginResult", self._combiner.submit(request))

    def cas(self, request: CasRequest) -> CasResult:
        """Change one row if it still is what the request says."""
        charges_of(request.takes)
        return cast("CasResult", self._combiner.submit(request))

    def scan(self, query: Scan) -> Page:
        """Read rows or ledger lines."""
        with self._reading, self._translated():
            db = self._reader = self._reader or self._open()
            now = db.execute(_NOW).fetchone()[0]
            if query.kind == "ledger":
                lines = rows.lines(db, query)
                return Page(now, lines=lines, cursor=lines[-1].seq if len(lines) == query.limit else None)
            found, cursor = rows.scan(db, query, now)
            return Page(now, tuple(row.record(0.0, now) for row in found), cursor=cursor)

    def purge(self, limit: int = 1000) -> int:
        """Remove rows past ``keep_until`` and results past ``value_until``; return how many were touched."""
        with self._translated(), contextlib.closing(self._open()) as db, _transaction(db):
            now = db.execute(_NOW).fetchone()[0]
            touched = db.execute(
                "DELETE FROM actions WHERE seq IN (SELECT seq FROM actions WHERE keep_until <= ? LIMIT ?)", (now, limit)
            ).rowcount
            touched += db.execute(
                "UPDATE actions SET value = NULL WHERE seq IN"
                " (SELECT seq FROM actions WHERE value IS NOT NULL AND value_until <= ? LIMIT ?)",
                (now, limit),
            ).rowcount
            over = db.execute(
                "SELECT resource, name, subject FROM buckets WHERE until <= ? LIMIT ?", (now * 1e6, limit)
            ).fetchall()
            for table in ("units", "buckets"):
                db.executemany(f"DELETE FROM {table} WHERE resource = ? AND name = ? AND subject = ?", over)
            return touched

    async def abegin(self, request: BeginRequest) -> BeginResult:
        """Async twin of ``begin``; a thread writes."""
        charges_of(request.takes)
        return cast("BeginResult", await self._combiner.asubmit(request))

    async def acas(self, request: CasRequest) -> CasResult:
        """Async twin of ``cas``; a thread writes."""
        charges_of(request.takes)
        return cast("CasResult", await self._combiner.asubmit(request))

    async def ascan(self, query: Scan) -> Page:
        """Async twin of ``scan``."""
        return await self._in_thread(partial(self.scan, query))

    async def apurge(self, limit: int = 1000) -> int:
        """Async twin of ``purge``."""
        return await self._in_thread(partial(self.purge, limit))

    def setup(self) -> None:
        """Make the file and its tables now; the first verb does it otherwise."""
        self.scan(Scan("id", id=""))

    def close(self) -> None:
        """Close the file; a verb after that raises ``Unavailable``."""
        self._closed = True
        if self._executor is not None:
            self._executor.shutdown()
        for db in (self._writer, self._reader):
            if db is not None:
                db.close()
        self._writer = self._reader = None

    # -- connections ---------------------------------------------------------------------------------------------------

    def _write(self, batch: Sequence[Request]) -> list[Result | BaseException]:
        with self._translated():
            db = self._writer = self._writer or self._open()
            full = any(verbs.is_intent(request) for request in batch)
            if full != self._full:
                db.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
                self._full = full
            with _transaction(db):
                now = db.execute(_NOW).fetchone()[0]
                return [
                    verbs.begin(db, request, now) if isinstance(request, BeginRequest) else verbs.cas(db, request, now)
                    for request in batch
                ]

    def _open(self) -> sqlite3.Connection:
        if self._closed:
            raise sqlite3.OperationalError("the store is closed")
        with self._opening:
            new = not self.path.exists()
            if new:
                # made before SQLite does, so that it never is readable by others; its side files take the same mode
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            until = time.monotonic() + self._timeout
            while True:
                db = sqlite3.connect(self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False)
                try:
                    _prepare(db)
                except sqlite3.OperationalError:
                    # SQLite does not wait for a lock where several processes make one file at once
                    db.close()
                    if time.monotonic() >= until:
                        raise
                    time.sleep(0.01)
                else:
                    return db

    @contextlib.contextmanager
    def _translated(self) -> Generator[None]:
        """Raise ``Unavailable`` for what is not the statement's fault."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            # of the others the statement itself is the cause
            away = isinstance(error, (sqlite3.OperationalError, OSError)) or type(error) is sqlite3.DatabaseError
            if not away and not self._closed:
                raise
            raise Unavailable(
                "sqlite", f"the guard's file {self.path} cannot be used: {error}", help=_ADVICE
            ) from error

    def _threads(self) -> ThreadPoolExecutor:
        if self._executor is None:
            with self._opening:
                self._executor = self._executor or ThreadPoolExecutor(2, "valhalla-guard-sqlite")
        return self._executor

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await get_running_loop().run_in_executor(self._threads(), function)

    def _forked(self) -> None:
        # connections, threads and locks belong to the parent; closing its files here would drop its locks
        self._inherited.append((self._writer, self._reader))
        self._writer = self._reader = self._executor = None
        self._full = False
        self._combiner = Combiner(self._write, executor=self._threads)
        self._opening, self._reading = threading.RLock(), threading.Lock()


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    if db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'units'").fetchone()[0] == 0:
        script = files("valhalla.guard.stores.sqlite").joinpath("schema.sql").read_text()
        db.executescript(f"BEGIN IMMEDIATE; {script} COMMIT;")


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Generator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
