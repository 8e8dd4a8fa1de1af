"""Where snapshots are kept: a folder of contents each, and a small file that names the current one.

``<name>.json`` is replaced in one step, so a name always stands for one whole snapshot. The folder it named before
stays for an hour: a creation may be reading it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from valhalla.sandbox.slices.contracts import Isolation
from valhalla.sandbox.templates.kinds import Snapshot

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_FOLDER: Final = re.compile(r"[0-9a-f]{16}")
_OUTLIVES: Final = 3600.0


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """What is known about a snapshot without opening it. ``version`` is also its folder's name."""

    name: str
    owner: str
    sandbox: str
    template: str
    isolation: Isolation
    made_by: str
    made_at: datetime
    version: str
    tables: int
    rows: int
    size: int


class Snapshots:
    """The snapshots below one directory. Every method may raise ``OSError``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def names(self) -> list[str]:
        """Return every snapshot's name, sorted."""
        if not self.directory.is_dir():
            return []
        return sorted(path.stem for path in self.directory.glob("*.json") if _NAME.fullmatch(path.stem))

    def info(self, name: str) -> SnapshotInfo | None:
        """Return what is known about a snapshot; None when there is none of this name."""
        try:
            return msgspec.json.decode(self._file(name).read_bytes(), type=SnapshotInfo)
        except FileNotFoundError:
            return None

    def find(self, name: str) -> Snapshot | None:
        """Return a snapshot as a template."""
        info = self.info(name) if _NAME.fullmatch(name) else None
        if info is None:
            return None
        return Snapshot(name, self.directory / info.version, info.version, info.isolation)

    @contextlib.contextmanager
    def draft(self) -> Generator[Path]:
        """Lend a new private folder to write a snapshot into; removed again unless it is published."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = self.directory / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def publish(self, info: SnapshotInfo) -> None:
        """Let the name stand for the draft ``info.version`` from now on, also after a power failure."""
        folder = self.directory / info.version
        for path in (*folder.iterdir(), folder):
            _sync(path)
        staged = folder / "published"
        with os.fdopen(os.open(staged, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(msgspec.json.encode(info))
        _sync(staged)
        staged.replace(self._file(info.name))
        _sync(self.directory)

    def remove(self, name: str) -> None:
        """Let the name stand for nothing; what reads the contents now may finish."""
        self._file(name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove the contents that no name has stood for in the last hour, also what a crash has left."""
        if not self.directory.is_dir():
            return
        known = {info.version for name in self.names() if (info := self.info(name)) is not None}
        for path in self.directory.iterdir():
            if _FOLDER.fullmatch(path.name) and path.name not in known:
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > _OUTLIVES:
                        shutil.rmtree(path)

    def _file(self, name: str) -> Path:
        assert _NAME.fullmatch(name), "names are checked where they come in"
        return self.directory / f"{name}.json"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
