"""One owner per data directory."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from valhalla.embedded import identity
from valhalla.embedded.errors import DataDirInUse

HANDOVER_SECONDS = 3.0


class DataDirLock:
    """An advisory lock that the kernel releases when its holder ends, however that happens."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, or return at once when we hold it.

        Raises:
            DataDirInUse: another process, or another stack of this one, holds it.
        """
        if self._descriptor is not None:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._lock(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def _lock(self, descriptor: int) -> None:
        """Lock; a child that a killed holder had just forked keeps the lock until it has started its program."""
        deadline = time.monotonic() + HANDOVER_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
                alive = not holder.isdigit() or identity.started(int(holder)) is not None
                if alive or time.monotonic() > deadline:
                    raise DataDirInUse(
                        f"{self._path.parent} is in use by process {holder}",
                        data_dir=str(self._path.parent),
                        pid=holder,
                    ) from None
                time.sleep(0.01)
            else:
                return

    def release(self) -> None:
        """Give the lock back; nothing happens when we do not hold it."""
        if self._descriptor is not None:
            # a process that was forked from us shares the lock: closing alone would leave it taken
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None
