"""Keys one by one, without an echo and without waiting for Enter."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import sys
import termios
import tty
from collections.abc import Callable, Generator
from typing import Final

_END: Final = b"\x04"
# arrows are j and k, in both modes that a terminal can be in
_MEANS: Final = {"\x1b[A": "k", "\x1bOA": "k", "\x1b[B": "j", "\x1bOB": "j"}
# the bytes of a sequence leave the terminal at once, but may arrive in two parts over a network
_REST_WITHIN: Final = 0.05
_KEY: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]?|\x1bO[@-~]?|.", re.DOTALL)
_BEGUN: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?")


class Typed:
    """What was typed and not yet taken: whole keys, an escape sequence is one."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._text = ""

    def __bool__(self) -> bool:
        return bool(self._text)

    def add(self, data: bytes) -> None:
        """Take what the terminal sent."""
        self._text += self._decoder.decode(data)

    def take(self, *, whole: bool = True) -> str:
        """Return the next key; ``""`` for none, and with ``whole`` also while one may have only begun."""
        found = _KEY.match(self._text)
        if found is None or (whole and _BEGUN.fullmatch(self._text)):
            return ""
        self._text = self._text[found.end() :]
        return found[0]


@contextlib.contextmanager
def keys() -> Generator[Callable[[float], str]]:
    """Yield what waits so many seconds for a key and returns it, ``""`` for none; restore the terminal afterwards.

    A terminal that is gone has typed Ctrl-D.
    """
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    typed = Typed()

    def fill(seconds: float) -> bool:
        if not select.select([descriptor], [], [], seconds)[0]:
            return False
        try:
            typed.add(os.read(descriptor, 1024) or _END)
        except OSError:
            typed.add(_END)
        return True

    def read(seconds: float) -> str:
        if not typed and not fill(seconds):
            return ""
        while not (key := typed.take()) and typed:
            if not fill(_REST_WITHIN):
                key = typed.take(whole=False)
                break
        return _MEANS.get(key, key)

    try:
        tty.setcbreak(descriptor)
        yield read
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
