"""Keys one by one, without an echo and without waiting for Enter."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Generator


@contextlib.contextmanager
def keys() -> Generator[Callable[[float], str]]:
    """Yield what waits so many seconds for a key and returns it, ``""`` for none; restore the terminal afterwards."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def read(seconds: float) -> str:
        ready, _, _ = select.select([descriptor], [], [], seconds)
        if not ready:
            return ""
        typed = os.read(descriptor, 16).decode(errors="ignore")
        # arrows are j and k
        return {"\x1b[A": "k", "\x1b[B": "j"}.get(typed, typed[:1])

    try:
        tty.setcbreak(descriptor)
        yield read
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
