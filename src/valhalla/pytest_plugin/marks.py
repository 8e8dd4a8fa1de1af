"""Which process a sandbox was made for, written on the sandbox, so that a later run knows whose nobody needs."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, cast

from valhalla.sdk.discovery import process_runs, start_ticks

TAG: Final = "pytest"


@dataclass(frozen=True, slots=True)
class Mark:
    """A process of a test run. ``keep`` says that its sandboxes may outlive it."""

    machine: str
    pid: int
    started: int | None
    keep: bool = False

    @classmethod
    def own(cls, *, keep: bool = False) -> Self:
        """Return the mark of this process."""
        return cls(_machine(), os.getpid(), start_ticks(os.getpid()), keep)

    @classmethod
    def read(cls, document: object) -> Self | None:
        """Read a mark; ``None`` when it is none that this version wrote."""
        if not isinstance(document, Mapping):
            return None
        members = cast("Mapping[str, Any]", document)
        try:
            started = members["started"]
            known = None if started is None else int(started)
            return cls(str(members["machine"]), int(members["pid"]), known, bool(members["keep"]))
        except (KeyError, TypeError, ValueError):
            return None

    def document(self) -> dict[str, Any]:
        """Return the mark as JSON."""
        return {"machine": self.machine, "pid": self.pid, "started": self.started, "keep": self.keep}

    @property
    def is_here(self) -> bool:
        """Whether the process ran where its pid means something to us."""
        return self.machine == _machine()

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody needs its sandboxes any more: it has ended, and we are the ones who can know."""
        return not self.keep and self.is_here and not process_runs(self.pid, self.started)


def _machine() -> str:
    """Return what two processes share when they see the same process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - the link's text, no path
    except OSError:
        return socket.gethostname()
