"""The SQLite slice's folders on disk: how they appear whole, are cut off by one rename, and vanish."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import sqlite3
from pathlib import Path
from typing import Final

from valhalla.kernel.problems import Misconfigured

FILE: Final = "db.sqlite"
# ``<id>``: in use; ``<id>.cut``: access has ended; ``<id>.new-…``: made by a program that was killed meanwhile
_FOLDER: Final = re.compile(r"([a-z0-9]{16})(\.cut|\.new-[0-9a-f]{8})?")


class Folders:
    """One folder per sandbox below a directory that belongs to one cell. Every method may raise ``OSError``."""

    def __init__(self, directory: Path, cell: str) -> None:
        self.directory = directory
        self._cell = cell

    def of(self, sandbox_id: str) -> Path:
        """Return where a sandbox's folder is while it may be used."""
        return self.directory / sandbox_id

    def claim(self) -> None:
        """Make the directory and mark it as this cell's: an orphan sweep must never meet another cell's folders.

        Raises:
            Misconfigured: another cell has marked it.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = self.directory / ".cell"
        if not mark.exists():
            draft = mark.with_name(f".cell-{secrets.token_hex(4)}")
            draft.write_text(self._cell)
            # appears whole, and only where there is none
            with contextlib.suppress(FileExistsError):
                os.link(draft, mark)
            draft.unlink()
        if (owner := mark.read_text()) != self._cell:
            raise Misconfigured(f"{self.directory} belongs to cell '{owner}'", setting="sqlite_dir")

    def make(self, sandbox_id: str, image: bytes) -> None:
        """Make a sandbox's folder with a database of these contents; does nothing when there is one.

        Raises:
            sqlite3.Error: the database cannot be prepared; nothing is left.
        """
        self.claim()
        folder = self.of(sandbox_id)
        if folder.is_dir():
            return
        making = self.directory / f"{sandbox_id}.new-{secrets.token_hex(4)}"
        try:
            making.mkdir(mode=0o700)
            file = making / FILE
            with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as target:
                target.write(image)
            with contextlib.closing(sqlite3.connect(file)) as connection:
                # stays in the file's header: every program that opens it later has it
                connection.execute("PRAGMA journal_mode = WAL")
            try:
                making.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another provision of this sandbox was first, which is as good
                    raise
        finally:
            remove(making)

    def cut(self, sandbox_id: str) -> None:
        """Let every new open fail, and remove the database."""
        folder, cut = self.of(sandbox_id), self.directory / f"{sandbox_id}.cut"
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            remove(cut)
            # Renaming the folder is the cut: were only the file gone, the next open would make an empty one there.
            folder.rename(cut)
        if cut.is_dir():
            for file in cut.glob(f"{FILE}*"):
                remove(file)

    def drop(self, sandbox_id: str) -> None:
        """Remove everything of a sandbox, finished or not."""
        for name, owner in self.names():
            if owner == sandbox_id:
                remove(self.directory / name)

    def size(self, sandbox_id: str) -> int | None:
        """Return the bytes of everything in a sandbox's folder; None when there is none."""
        try:
            # nothing is followed: the folder is the sandbox's to write in
            return sum(entry.stat(follow_symlinks=False).st_size for entry in os.scandir(self.of(sandbox_id)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self) -> list[tuple[str, str]]:
        """Return every sandbox's folders as (name, sandbox id)."""
        if not self.directory.is_dir():
            return []
        matches = (_FOLDER.fullmatch(entry.name) for entry in self.directory.iterdir())
        return [(match[0], match[1]) for match in matches if match]

    def remove(self, name: str) -> None:
        """Remove one folder that ``names`` listed; anything else is left alone."""
        if _FOLDER.fullmatch(name):
            remove(self.directory / name)

    def touch(self) -> None:
        """Write a page to the disk, read it back and remove it again."""
        self.claim()
        path = self.directory / f".ping-{secrets.token_hex(4)}"
        page = secrets.token_bytes(4096)
        try:
            with path.open("wb") as file:
                file.write(page)
                file.flush()
                os.fsync(file.fileno())
            if path.read_bytes() != page:
                raise OSError("the disk lost what was written")
        finally:
            path.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder; a link's target stays. Two may do it at once."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    while path.is_dir():
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)
