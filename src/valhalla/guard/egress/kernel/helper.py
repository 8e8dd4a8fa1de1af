"""Decides the connections of held threads, from a process of its own (``python -m``, with the control socket as stdin).

BPF cannot read an address. A thread of the held process could, but C libraries connect while they hold the
interpreter's lock, which that thread would need to answer: psycopg does, and everything would stand still.

The helper makes an allowed connection itself, on a copy of the socket and with its own copy of the address: what was
judged is what happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import socket
import sys
import threading
from dataclasses import dataclass
from typing import Any, Final, cast

from valhalla.guard.egress.endpoints import covers
from valhalla.guard.egress.kernel import notices, sockets
from valhalla.guard.egress.kernel.install import CONNECT, SYSCALL
from valhalla.guard.egress.kernel.notices import Question

_PIDFD_OPEN: Final = 434
_PIDFD_GETFD: Final = 438
READY: Final = b"ready"


@dataclass(frozen=True, slots=True)
class _Ward:
    """One held thread: every one of ``allowed`` has to cover an endpoint; ``report`` hears what was refused."""

    listener: int
    report: socket.socket
    allowed: list[frozenset[tuple[str, int | None]]]


class Helper:
    """Answers for the process ``pid`` until ``control`` ends."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self._pid = pid
        self._control = control
        self._wards: dict[int, _Ward] = {}
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._process = int(SYSCALL(ctypes.c_long(_PIDFD_OPEN), ctypes.c_long(pid), ctypes.c_long(0)))

    def can(self) -> str:
        """Return why it cannot do its work, empty if it can: read the other's memory and borrow its sockets."""
        try:
            with open(f"/proc/{self._pid}/mem", "rb"):  # noqa: PTH123
                pass
        except OSError as error:
            return f"the memory of the process cannot be read: {error.strerror}"
        borrowed = self._borrow(0)
        if borrowed < 0 and borrowed != -errno.EBADF:
            return f"sockets cannot be borrowed: {os.strerror(-borrowed)}"
        if borrowed >= 0:
            os.close(borrowed)
        return ""

    def serve(self) -> None:
        """Work until the other side is gone."""
        while True:
            for descriptor, event in self._poll.poll():
                if descriptor == self._control.fileno():
                    if not self._take():
                        return
                elif descriptor in self._wards:
                    self._turn(descriptor, event)

    def _take(self) -> bool:
        words, handed, _, _ = socket.recv_fds(self._control, 1 << 20, 2)
        if not words:
            return False
        listener, report = handed
        allowed = [frozenset((str(host), port) for host, port in one) for one in json.loads(words)]
        ward = _Ward(listener, socket.socket(fileno=report), cast("Any", allowed))
        for descriptor in (listener, ward.report.fileno()):
            self._wards[descriptor] = ward
            self._poll.register(descriptor, select.POLLIN)
        ward.report.send(READY)
        return True

    def _turn(self, descriptor: int, event: int) -> None:
        ward = self._wards[descriptor]
        if descriptor == ward.listener and event & select.POLLIN:
            question = notices.receive(ward.listener)
            if question is not None:
                self._decide(ward, question)
        elif descriptor == ward.listener:
            # nobody is left to ask
            self._poll.unregister(descriptor)
            self._wards.pop(descriptor)
        else:
            self._forget(ward)

    def _forget(self, ward: _Ward) -> None:
        for descriptor in (ward.listener, ward.report.fileno()):
            if self._wards.pop(descriptor, None) is not None:
                self._poll.unregister(descriptor)
        ward.report.close()
        os.close(ward.listener)

    def _decide(self, ward: _Ward, question: Question) -> None:
        number, address, length = question.arguments[:3]
        raw = question.memory(address, length)
        where = sockets.decode(raw)
        if where is None or not all(covers(one, *where) for one in ward.allowed):
            # told before it is answered, so that the report is there when the call returns
            with contextlib.suppress(OSError):
                ward.report.send(json.dumps(where).encode())
            notices.answer(ward.listener, question, errno.EPERM)
            return
        borrowed = self._borrow(number)
        if borrowed < 0:
            notices.answer(ward.listener, question, -borrowed)
        elif os.get_blocking(borrowed):
            # it may take minutes, and others ask
            threading.Thread(target=_connect, args=(ward.listener, question, borrowed, raw), daemon=True).start()
        else:
            _connect(ward.listener, question, borrowed, raw)

    def _borrow(self, number: int) -> int:
        ctypes.set_errno(0)
        found = SYSCALL(
            ctypes.c_long(_PIDFD_GETFD), ctypes.c_long(self._process), ctypes.c_long(number), ctypes.c_long(0)
        )
        return int(found) if found >= 0 else -ctypes.get_errno()


def _connect(listener: int, question: Question, borrowed: int, raw: bytes) -> None:
    try:
        failed = CONNECT(borrowed, raw, len(raw)) != 0
        number = ctypes.get_errno() if failed else 0
    finally:
        os.close(borrowed)
    # the ward may have ended meanwhile
    with contextlib.suppress(OSError):
        notices.answer(listener, question, number)


def main() -> None:
    """Say whether the work can be done, and do it."""
    control = socket.socket(fileno=os.dup(0))
    helper = Helper(int(sys.argv[1]), control)
    reason = helper.can()
    control.send(READY if not reason else reason.encode())
    if not reason:
        helper.serve()


if __name__ == "__main__":
    main()
