"""The SQLite slice: an own file per sandbox, for tests and the embedded library.

What enforces the border is the file system, not a server. Folders (0700) and files (0600) belong to the control
plane's operating-system account: a program under another account reaches none of them, one under the same account
could open every sandbox's file if it looked for it. And what is open stays open: on POSIX a handle survives the
removal of its file, and nothing can revoke it. ``cut`` ends every new open at once; a program that holds the database
open works on in a file that nobody else sees any more, until it closes it. Hostile code needs Postgres.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.local.contents import Contents, pristine
from valhalla.sandbox.slices.contracts import Found, Names, Probe
from valhalla.sandbox.slices.sqlite_folders import FILE, Folders

_T = TypeVar("_T")


class SqliteSlice:
    """One folder with one database file per sandbox, below a directory that belongs to one cell."""

    name = "sqlite"

    def __init__(
        self, directory: Path, cell: CellKey, *, template: Contents = "community", timeout: float = 2.0
    ) -> None:
        """Nothing is made yet; ``timeout`` (seconds) is how long a probe waits for the sandbox's own writers."""
        self._folders = Folders(directory.absolute(), cell.cell)
        self._template = template
        self._timeout = timeout

    async def provision(self, names: Names, *, expires_at: datetime, contents: Contents | None = None) -> None:
        """Make the database with a template's contents; whole or not at all. It has no expiry of its own.

        Raises:
            Unavailable: the directory cannot be written, or the disk is full; nothing is left.
            Misconfigured: the directory belongs to another cell, or cannot be written as a SQLite URL.
            TemplateUnknown, TemplateFailed: the template cannot be built.
        """
        if set("?#%") & set(str(self._folders.directory)):
            directory = self._folders.directory
            raise Misconfigured(f"{directory} must not contain '?', '#' or '%'", setting="sqlite_dir")
        chosen = self._template if contents is None else contents

        def make() -> None:
            with contextlib.closing(pristine(chosen)) as built:
                # SQLite does not serialize a database without a page; an empty file is one
                (pages,) = built.execute("PRAGMA page_count").fetchone()
                image = built.serialize() if pages else b""
            self._folders.make(names.id, image)

        await self._run(make)

    async def empty(self, names: Names) -> None:
        """Remove the database, for ``provision`` to make it anew; handles that are open keep the old one.

        Raises:
            Unavailable: the directory cannot be written; to be repeated.
        """
        await self.cut(names)
        await self.drop(names)

    async def extend(self, names: Names, *, expires_at: datetime) -> None:
        """Do nothing: a file knows no expiry."""

    async def cut(self, names: Names) -> None:
        """Make every new open fail, and remove the file. A handle that is open already cannot be revoked.

        Raises:
            Unavailable: the directory cannot be written; to be resumed.
        """
        await self._run(lambda: self._folders.cut(names.id))

    async def admit(self, names: Names, *, expires_at: datetime) -> None:
        """Do nothing: a cut removes the file, and a quarantine leaves it alone."""

    async def drop(self, names: Names) -> None:
        """Remove everything of the sandbox.

        Raises:
            Unavailable: the directory cannot be written; to be resumed.
        """
        await self._run(lambda: self._folders.drop(names.id))

    async def probe(self, names: Names) -> Probe:
        """Open the database and read its schema; nothing that the sandbox wrote is run."""
        return await asyncio.to_thread(self._probe, self._folders.of(names.id) / FILE)

    def _probe(self, file: Path) -> Probe:
        started = time.monotonic()
        reason: str | None = None
        try:
            # a link could point at another sandbox's file
            if stat.S_ISREG(file.lstat().st_mode):
                self._query(file)
            else:
                reason = "the database is not a regular file"
        except FileNotFoundError:
            reason = "there is no database file"
        except (sqlite3.Error, OSError) as error:
            reason = f"the database cannot be read: {error}"
        return Probe(reason is None, _since(started), reason)

    def _query(self, file: Path) -> None:
        # mode=rw: without it SQLite would make a file that is missing
        connection = sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=self._timeout)
        with contextlib.closing(connection):
            # parses the schema and runs nothing in it
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()

    async def ping(self) -> Probe:
        """Write and remove a file in the directory."""
        started = time.monotonic()
        try:
            await self._run(self._folders.touch)
        except (Unavailable, Misconfigured) as error:
            return Probe(False, _since(started), error.detail)
        return Probe(True, _since(started))

    async def sizes(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the bytes of sandboxes' files with their journals, by sandbox id; one that is gone is left out.

        Raises:
            Unavailable: the directory cannot be read.
        """
        return await self._run(lambda: {each: size for each in ids if (size := self._folders.size(each)) is not None})

    async def found(self) -> Sequence[Found]:
        """List the cell's folders, also those that a crash left half made or half removed.

        Raises:
            Unavailable: the directory cannot be read.
            Misconfigured: it belongs to another cell.
        """
        await self._run(self._folders.claim)
        return [Found(self.name, "folder", name, owner) for name, owner in await self._run(self._folders.names)]

    async def remove(self, orphan: Found) -> None:
        """Remove a folder that ``found`` listed.

        Raises:
            Unavailable: the directory cannot be written; the folder is listed until all is gone.
        """
        await self._run(lambda: self._folders.remove(orphan.name))

    def connection(self, names: Names, *, expires_at: datetime) -> dict[str, Any]:
        """Return the database's URL and path; who may open it is a matter of the operating system's account."""
        path = self._folders.of(names.id) / FILE
        return {"url": f"sqlite:///{path}", "path": str(path)}

    async def _run(self, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.to_thread(work)
        except (OSError, sqlite3.Error) as error:
            raise Unavailable("sqlite", f"{self._folders.directory}: {error}") from error


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
