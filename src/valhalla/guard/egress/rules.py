"""What a seal lets out: pure decisions on values."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from valhalla.guard.egress.endpoints import UNIX, Endpoints, local_names, normal

WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_HARMLESS: Final = ("/dev/null", "/dev/tty", "/dev/stdout", "/dev/stderr", "/dev/ptmx")
_HARMLESS_IN: Final = ("/dev/fd/", "/dev/pts/", "/proc/self/fd/")
_COMPILED: Final = f"{os.sep}__pycache__{os.sep}"


@dataclass(frozen=True, slots=True)
class Rules:
    """``allow``: anything may go there. ``reads``: connections too, and only the protocol hooks tell reads from writes.

    ``files`` are directories in which files may be written and removed. ``network_only`` leaves files and processes
    alone.
    """

    allow: Endpoints
    reads: Endpoints
    files: tuple[str, ...] = ()
    network_only: bool = False

    def may_send(self, host: str, port: int | None) -> bool:
        """Say whether anything may be sent to an endpoint."""
        return self.allow.covers(host, port)

    def may_connect(self, host: str, port: int | None) -> bool:
        """Say whether a connection may be made."""
        if self.network_only and host.startswith(UNIX):
            # of this machine: a matter of the file system, which this seal leaves alone
            return True
        return self.allow.covers(host, port) or self.reads.covers(host, port)

    def may_resolve(self, host: str) -> bool:
        """Say whether a name may be asked for."""
        return self.allow.names(host) or self.reads.names(host) or normal(host) in local_names()

    def may_change(self, path: str | bytes) -> bool:
        """Say whether a file may be written, renamed or removed."""
        name = os.fsdecode(path)
        if name in _HARMLESS or name.startswith(_HARMLESS_IN):
            return True
        # the interpreter's own cache is no effect of the block
        if _COMPILED in name and ".pyc" in name:
            return True
        if not self.files:
            return False
        real = os.path.realpath(name)
        return any(real == directory or real.startswith(directory + os.sep) for directory in self.files)


def make(allow: Iterable[str], reads: Iterable[str], files: Iterable[str | Path], *, network_only: bool) -> Rules:
    """Read what a caller wrote.

    Raises:
        Invalid: an endpoint is none.
    """
    directories = tuple(os.path.realpath(directory) for directory in files)
    return Rules(Endpoints(allow), Endpoints(reads), directories, network_only)
