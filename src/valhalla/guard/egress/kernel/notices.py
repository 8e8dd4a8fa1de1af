"""The kernel's questions about connections, and answers to them (seccomp user notification)."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from dataclasses import dataclass
from typing import Final

_RECEIVE: Final = 0xC0502100
_SEND: Final = 0xC0182101
_IS_VALID: Final = 0x40082102
_QUESTION: Final = struct.Struct("=QIIiIQ6Q")
_ANSWER: Final = struct.Struct("=QqiI")
_CONTINUE: Final = 1
# a sockaddr is never longer
_LONGEST: Final = 128


@dataclass(frozen=True, slots=True)
class Question:
    """A call that waits: who makes it, its number and its arguments."""

    id: int
    pid: int
    call: int
    arguments: tuple[int, ...]

    def memory(self, address: int, length: int) -> bytes:
        """Read the asking process' memory, no more than an address takes; empty if there is none."""
        try:
            memory = os.open(f"/proc/{self.pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            return os.pread(memory, min(length, _LONGEST), address)
        except (OSError, OverflowError):
            return b""
        finally:
            os.close(memory)


def receive(listener: int) -> Question | None:
    """Take one question; ``None`` if who asked has gone."""
    buffer = bytearray(_QUESTION.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    number, pid, _, call, _, _, *arguments = _QUESTION.unpack(buffer)
    return Question(number, pid, call, tuple(arguments))


def is_valid(listener: int, question: Question) -> bool:
    """Say whether who asked still waits, so that what was read of it belongs to it."""
    try:
        fcntl.ioctl(listener, _IS_VALID, struct.pack("=Q", question.id))
    except OSError:
        return False
    return True


def answer(listener: int, question: Question, error: int) -> None:
    """Let the call end with an error number, 0 for success."""
    _send(listener, _ANSWER.pack(question.id, 0, -error, 0))


def let_go(listener: int, question: Question) -> None:
    """Let the call be made; only for who is confined by something else."""
    _send(listener, _ANSWER.pack(question.id, 0, 0, _CONTINUE))


def _send(listener: int, raw: bytes) -> None:
    try:
        fcntl.ioctl(listener, _SEND, raw)
    except OSError as error:
        # who asked has gone
        if error.errno not in (errno.ENOENT, errno.EBADF):
            raise
