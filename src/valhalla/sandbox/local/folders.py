"""Private folders that are removed with their program, or by the next one when it was killed.

A folder's name says whose it is (process id and start time), and its owner holds a lock on it. The lock is what
another container sees that shares the disk but not the process table; the name is what a file system without locks
leaves.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"vh-box-(\d+)-(\d+)-[0-9a-f]{12}")


class Folder:
    """A folder of mode 0700 below ``parent``, locked until ``remove``."""

    def __init__(self, parent: Path) -> None:
        """Make it, and ``parent`` when it does not exist.

        Raises:
            OSError: it cannot be made.
        """
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        pid = os.getpid()
        self.path = parent.absolute() / f"vh-box-{pid}-{_started(pid) or 0}-{secrets.token_hex(6)}"
        # Made under another name first: no sweep can meet it between its making and its lock.
        making = self.path.with_name(f".{self.path.name}")
        making.mkdir(mode=0o700)
        self._lock = os.open(making, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # NFS and the like: the name alone decides
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        making.rename(self.path)

    def remove(self) -> None:
        """Remove it with all it holds, also files that are still open. Does nothing the second time."""
        if self._lock < 0:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1


def sweep(parent: Path) -> list[Path]:
    """Remove what killed programs left in ``parent``; return it."""
    gone: list[Path] = []
    with contextlib.suppress(OSError):
        for path in parent.iterdir():
            found = _NAME.fullmatch(path.name)
            if found and path.is_dir() and not _lives(int(found[1]), int(found[2])) and _unlocked(path):
                shutil.rmtree(path, ignore_errors=True)
                gone.append(path)
    return gone


def _lives(pid: int, started: int) -> bool:
    now = _started(pid)
    if now is not None:
        return now == started
    if Path("/proc/self/stat").exists():
        return False
    try:  # no /proc: the id alone has to do, and a reused one delays the sweep
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> int | None:
    """Return the process's start in clock ticks since boot; None when it does not run or nobody says."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # the second field is the program's name in parentheses, which may hold spaces and parentheses
    fields = stat.rpartition(")")[2].split()
    # a zombie has a start time but no files any more
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def _unlocked(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        os.close(handle)
    return True
