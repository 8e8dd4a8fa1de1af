"""Where the shared control plane of a project lives, and who uses it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valhalla.sdk.discovery import process_runs

NAME = "pytest"


@dataclass(frozen=True, slots=True)
class Home:
    """``data`` is the control plane's data directory; what its users agree on lies beside it, in ``state``."""

    data: Path

    @property
    def state(self) -> Path:
        """The folder of the users."""
        return self.data.with_name(f"{self.data.name}.users")

    @classmethod
    def of(cls, project: Path) -> Home:
        """Return the home below a project's data directory, or in the temporary directory when that is not usable."""
        with contextlib.suppress(OSError):
            fresh = not project.exists()
            project.mkdir(parents=True, exist_ok=True)
            if fresh:
                (project / ".gitignore").write_text("*\n")
            if os.access(project, os.W_OK) and _passable(project):
                return cls(project / NAME)._made()
        # as root Postgres runs under another account, which cannot enter a folder of root's
        key = hashlib.sha256(os.fsencode(project)).hexdigest()[:16]
        return cls(_own(Path(tempfile.gettempdir()) / f"valhalla-{os.geteuid()}-{key}") / NAME)._made()

    def _made(self) -> Home:
        (self.state / "users").mkdir(mode=0o700, parents=True, exist_ok=True)
        self.state.chmod(0o700)
        return self

    @contextlib.contextmanager
    def locked(self, *, wait: bool = True) -> Generator[bool]:
        """Be the only one who starts, stops or keeps; without ``wait`` say whether that is so.

        The kernel ends the lock of whoever is killed.
        """
        descriptor = os.open(self.state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    def enter(self, pid: int, started: int | None) -> None:
        """Count a process as a user from now on."""
        self._user(pid, started).touch(mode=0o600)

    def exit(self, pid: int, started: int | None) -> None:
        """Count it no more."""
        self._user(pid, started).unlink(missing_ok=True)

    def in_use(self) -> bool:
        """Say whether a user lives, or a sandbox was kept that has not expired; forget the users who do not."""
        alive = False
        for path in (self.state / "users").iterdir():
            pid, _, started = path.name.partition("-")
            if process_runs(int(pid), int(started) if started else None):
                alive = True
            else:
                path.unlink(missing_ok=True)
        return alive or self._kept_until() > time.time()

    def keep(self, until: float) -> None:
        """Let the control plane run until then (seconds since 1970), whether it has users or not."""
        with self.locked():
            (self.state / "kept").write_text(str(max(until, self._kept_until())))

    def write(self, record: dict[str, Any]) -> None:
        """Leave the supervisor's record."""
        staged = self.state / ".supervisor.json"
        staged.write_text(json.dumps(record))
        staged.replace(self.state / "supervisor.json")

    def read(self) -> dict[str, Any] | None:
        """Read the supervisor's record."""
        try:
            return json.loads((self.state / "supervisor.json").read_text())
        except (OSError, ValueError):
            return None

    def _kept_until(self) -> float:
        try:
            return float((self.state / "kept").read_text())
        except (OSError, ValueError):
            return 0.0

    def _user(self, pid: int, started: int | None) -> Path:
        return self.state / "users" / (f"{pid}" if started is None else f"{pid}-{started}")


def _passable(folder: Path) -> bool:
    """Say whether the account that runs Postgres can reach what is in the folder."""
    return os.geteuid() != 0 or all(path.stat().st_mode & 0o001 for path in (folder, *folder.parents))


def _own(folder: Path) -> Path:
    """Make a folder in the shared temporary directory, where somebody else could have been first.

    Raises:
        PermissionError: somebody else was.
    """
    folder.mkdir(mode=0o711, exist_ok=True)
    facts = folder.lstat()
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o022 or not stat.S_ISDIR(facts.st_mode):
        raise PermissionError(f"{folder} is not this user's alone; remove it")
    return folder
