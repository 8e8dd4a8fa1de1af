"""A program in a pseudo-terminal: what it shows, and keys for it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time
from typing import Any, Final

from tests.cli.calling import PROGRAM

# a loaded machine takes long to start a process; nobody waits longer than it takes
SECONDS: Final = 60
_CONTROL: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\^_=>])")
ENTERED, LEFT = "\x1b[?1049h", "\x1b[?1049l"


class Terminal:
    """Runs ``valhalla`` with ``words``; ``raw`` is everything that it wrote."""

    def __init__(self, *words: str, **env: str) -> None:
        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
        self.before = self.modes()
        self.raw = ""
        self.process = subprocess.Popen(
            # Ctrl-C is a signal only where the program itself opens its session's terminal
            ["sh", "-c", 'exec "$@" <>"$0" >&0 2>&0', os.ttyname(self._slave), *PROGRAM, *words],
            start_new_session=True,
            env={"PATH": os.environ["PATH"], "TERM": "xterm-256color", **env},
        )
        os.set_blocking(self._master, False)

    def modes(self) -> list[Any]:
        """Return the terminal's modes."""
        return termios.tcgetattr(self._slave)

    def press(self, keys: str) -> int:
        """Send keys at once; return where in ``raw`` the answer to them begins."""
        os.write(self._master, keys.encode())
        return len(self.raw)

    async def shows(self, text: str, after: int = 0) -> str:
        """Wait until ``text`` is on the screen; return all that was written after that place."""
        until = time.monotonic() + SECONDS
        while text not in (seen := _words(self._read()[after:])):
            assert self.process.poll() is None, f"it ended without {text!r}: {seen[-5000:]}"
            assert time.monotonic() < until, f"it never showed {text!r}, but: {seen[-5000:]}"
            await asyncio.sleep(0.01)
        return seen

    async def ends(self) -> int:
        """Wait for the program's end; return its exit code."""
        async with asyncio.timeout(SECONDS):
            while self.process.poll() is None:
                self._read()
                await asyncio.sleep(0.01)
        self._read()
        return self.process.returncode

    def close(self) -> None:
        """End the program, if it still runs, and the terminal."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    def _read(self) -> str:
        try:
            while data := os.read(self._master, 65_536):
                self.raw += data.decode(errors="replace")
        except BlockingIOError:
            pass
        return self.raw


def _words(raw: str) -> str:
    """Return what people read; lines may break anywhere."""
    return re.sub(r"\s+", " ", _CONTROL.sub("", raw))
