"""A child process: started through the launcher, watched, ended in steps."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from valhalla.embedded.accounts import Account
from valhalla.embedded.spawner import Spawner

Ladder = tuple[tuple[signal.Signals, float], ...]
"""Signals to end a process with, each with the seconds to wait before the next."""

_LAUNCHER: Final = Path(__file__).with_name("launch.py")
_RESET: Final = [
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGCHLD,
    signal.SIGUSR1,
    signal.SIGUSR2,
]
_LOG_LIMIT: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. ``death_signal`` is sent when we die; ``reach`` are paths that ``account`` must be able to read."""

    command: tuple[str, ...]
    log: Path
    death_signal: signal.Signals
    account: Account | None = None
    reach: tuple[Path, ...] = ()


class Child:
    """A process that we started."""

    def __init__(self, pid: int, program: Program, log_start: int) -> None:
        self.pid = pid
        self.program = program
        self._log_start = log_start
        self._status: int | None = None

    def poll(self) -> int | None:
        """Return the exit status (negative: the signal that ended it), or ``None`` while it runs."""
        if self._status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                # somebody else in this process has collected it
                self._status = -signal.SIGKILL
            else:
                if pid:
                    self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def end(self, ladder: Ladder) -> None:
        """Send one signal after the other until it has ended; returns at once when it has."""
        climb(self.pid, ladder, lambda: self.poll() is None)

    def log_size(self) -> int:
        """Return how many bytes the log has; it grows while the program says something."""
        try:
            return self.program.log.stat().st_size
        except FileNotFoundError:
            return 0

    def log_lines(self) -> list[str]:
        """Return the last lines that this child, not an earlier one, has logged."""
        try:
            with self.program.log.open("rb") as file:
                file.seek(max(self._log_start, self.log_size() - 16_384))
                return file.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return []


def climb(pid: int, ladder: Ladder, runs: Callable[[], bool]) -> bool:
    """Send the signals of the ladder in turn while ``runs()``; say whether the process has ended."""
    for number, patience in ladder:
        if not runs():
            return True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience
        while runs() and time.monotonic() < deadline:
            time.sleep(0.002)
    return not runs()


def spawn(program: Program, spawner: Spawner) -> Child:
    """Start a program with a minimal environment, its output appended to its log.

    Raises:
        OSError: the interpreter cannot be started.
    """
    if program.log.exists() and program.log.stat().st_size > _LOG_LIMIT:
        program.log.replace(program.log.with_suffix(".log.1"))
    log_start = program.log.stat().st_size if program.log.exists() else 0
    account = program.account
    arguments = [
        sys.executable, "-I", "-S", "-E", str(_LAUNCHER),
        str(int(program.death_signal)), str(os.getpid()), f"{account.uid}:{account.gid}" if account else "-",
        str(len(program.reach)), *map(str, program.reach), *program.command,
    ]  # fmt: skip
    append = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    actions = (
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(program.log), append, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    )
    pid = spawner.call(
        lambda: os.posix_spawn(
            sys.executable, arguments, _environment(), file_actions=actions, setsigmask=[], setsigdef=_RESET
        )
    )
    return Child(pid, program, log_start)


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    # initdb would otherwise compare every known time zone with the system's
    return kept | {"LC_ALL": "C", "TZ": "UTC"}
