"""Notes about running children, so that a start after a crash can end what the previous run left behind."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from valhalla.embedded import identity
from valhalla.embedded.accounts import private_file
from valhalla.embedded.process import Child, Ladder, climb


@dataclass(frozen=True, slots=True)
class Record:
    """One child of a run: id, start and program together name it for ever."""

    pid: int
    started: str
    program: str

    def runs(self) -> bool:
        """Say whether exactly this process still runs, not another one with the same id."""
        return identity.started(self.pid) == self.started and identity.program(self.pid) == self.program


def write(path: Path, child: Child) -> None:
    """Note a child; one that has already ended leaves no note."""
    if (started := identity.started(child.pid)) is not None:
        record = Record(child.pid, started, child.program.command[0])
        private_file(path, json.dumps(asdict(record)), None)


def read(path: Path) -> Record | None:
    """Return what is noted, or ``None`` when there is nothing that makes sense."""
    try:
        match json.loads(path.read_text()):
            case {"pid": int(pid), "started": str(started), "program": str(program)} if pid > 1:
                return Record(pid, started, program)
            case _:
                return None
    except (FileNotFoundError, ValueError):
        return None


def end(record: Record, ladder: Ladder) -> None:
    """End the process if it is still the one that was noted, and wait until it is gone."""
    if record.runs():
        # a process that is ending has no program any more but still holds its files and ports
        climb(record.pid, ladder, lambda: identity.started(record.pid) == record.started)


def end_previous(path: Path, ladder: Ladder) -> None:
    """End the noted child of a previous run and drop the note."""
    record = read(path)
    if record is not None:
        end(record, ladder)
    path.unlink(missing_ok=True)
