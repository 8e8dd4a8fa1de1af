"""What the three servers have in common: prepare, start, wait until ready, retry on a taken port, stop.

Starting is a generator that yields whenever it waits, so one thread brings all servers up at the same time.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal

from valhalla.embedded import records
from valhalla.embedded.accounts import Account, private_folder
from valhalla.embedded.errors import StartFailed, start_failed
from valhalla.embedded.launch import REFUSED
from valhalla.embedded.ports import Ports
from valhalla.embedded.process import Child, Ladder, Program, spawn
from valhalla.embedded.spawner import Spawner
from valhalla.kernel.problems import Misconfigured
from valhalla.kit.cellkey import CellKey

Steps = Iterator[None]
Sign = Literal["silent", "busy", "ready"]
"""What a starting server shows: nothing yet, that it is at work, that it serves."""

SILENCE: Final = 20.0
"""Seconds that a starting server may show no sign of work; recovery after a crash logs what it does."""
LONGEST: Final = 300.0
"""Seconds that a start may take at all."""
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Site:
    """Where a stack lives and what its servers share."""

    data_dir: Path
    cell: CellKey
    account: Account | None
    ports: Ports
    spawner: Spawner

    def log(self, name: str) -> Path:
        """Return the log file of a program."""
        return self.data_dir / "logs" / f"{name}.log"

    def record(self, name: str) -> Path:
        """Return the note about a running program."""
        return self.data_dir / "run" / f"{name}.json"


class Server(ABC):
    """One embedded server."""

    name: ClassVar[str]
    ladder: ClassVar[Ladder]
    """How it is ended: the first signal asks, the last one cannot be refused."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.folder = site.data_dir / self.name
        self.port = 0
        self._child: Child | None = None

    @abstractmethod
    def prepare(self) -> Steps:
        """Bring the data into a state from which the program can start."""

    @abstractmethod
    def configure(self) -> Program:
        """Write the configuration for ``self.port`` and return what to run."""

    @abstractmethod
    def look(self, child: Child) -> Sign:
        """Say what the starting server shows."""

    @property
    def pid(self) -> int | None:
        """The process id while the server runs."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def end_previous(self) -> None:
        """End what an earlier run of this data directory left behind."""
        records.end_previous(self.site.record(self.name), self.ladder)

    def boot(self) -> Steps:
        """Start the server and return when it is ready.

        Raises:
            StartFailed: it ended or stayed silent.
            Misconfigured: its folder cannot be used.
        """
        private_folder(self.folder, self.site.account)
        yield from self.prepare()
        self.port = self.site.ports.take(self.name)
        for left in reversed(range(_TRIES)):
            child = self.run(self.name, self.configure())
            try:
                yield from self.wait(child, lambda: self.look(child))  # noqa: B023 - used up within this turn
                return
            except StartFailed:
                # somebody was quicker between our look at the port and the server's bind
                if not left or not any("address already in use" in line.lower() for line in child.log_lines()):
                    raise
            child.end(self.ladder)
            self.port = self.site.ports.change(self.name)

    def run(self, name: str, program: Program) -> Child:
        """Start a program as the current child and note it."""
        self._child = child = spawn(program, self.site.spawner)
        records.write(self.site.record(name), child)
        return child

    def wait(self, child: Child, look: Callable[[], Sign]) -> Steps:
        """Yield until ``look`` says ready.

        Raises:
            StartFailed: the child ended, showed nothing for ``SILENCE`` or took longer than ``LONGEST`` seconds.
            Misconfigured: the launcher refused to start it.
        """
        begun = heard = time.monotonic()
        logged = child.log_size()
        while (sign := look()) != "ready":
            if (status := child.poll()) is not None:
                # it may have ended between the look and now, and for a tool that works to an end that is ready
                if look() == "ready":
                    return
                raise self._ended(child, status)
            now = time.monotonic()
            if sign == "busy" or child.log_size() != logged:
                heard, logged = now, child.log_size()
            if now - heard > SILENCE or now - begun > LONGEST:
                what = f"was not ready after {now - begun:.0f} s"
                raise start_failed(self.name, what, child.program.log, child.log_lines())
            yield

    def stop(self) -> None:
        """End the server; it keeps its data. Takes at most the sum of the ladder's seconds."""
        if self._child is not None:
            self._child.end(self.ladder)
            self.site.record(self.name).unlink(missing_ok=True)

    def _ended(self, child: Child, status: int) -> Exception:
        lines = child.log_lines()
        if status == REFUSED:
            reason = lines[-1] if lines else "no reason given"
            return Misconfigured(
                f"{self.name} cannot run: {reason}",
                help="Choose a data_dir that other users can pass through (as root the servers run under another"
                " user), install Valhalla where they can read it, or run as an ordinary user.",
                setting="data_dir",
            )
        ending = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return start_failed(self.name, f"{ending} while it started", child.program.log, lines)
