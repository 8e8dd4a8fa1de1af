"""Decides the connections of a held thread: BPF cannot read an address, a thread of the same process can.

The supervisor makes an allowed connection itself, with its own copy of the address: what was judged is what happens.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import threading
import time
from typing import TYPE_CHECKING

from valhalla.guard.egress.contracts import Layer
from valhalla.guard.egress.errors import EgressBlocked
from valhalla.guard.egress.kernel import notices, sockets
from valhalla.guard.egress.kernel.install import CONNECT

if TYPE_CHECKING:
    from valhalla.guard.egress.kernel.notices import Question
    from valhalla.guard.egress.seal import Seal


def supervise(seal: Seal, listener: int, done: int, deadline: float | None) -> None:
    """Answer until ``done`` becomes readable or ``deadline`` seconds have passed."""
    until = None if deadline is None else time.monotonic() + deadline
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(done, select.POLLIN)
    while True:
        left = None if until is None else max(0.0, until - time.monotonic())
        ready = dict(poll.poll(None if left is None else left * 1000))
        if done in ready or not ready:
            return
        if ready[listener] & select.POLLIN:
            question = notices.receive(listener)
            if question is not None:
                _decide(seal, listener, question)
        else:
            # nobody is left to ask
            poll.unregister(listener)


def _decide(seal: Seal, listener: int, question: Question) -> None:
    descriptor, address, length = question.arguments[:3]
    raw = question.memory(address, length)
    where = sockets.decode(raw)
    if where is None:
        notices.answer(listener, question, errno.EFAULT)
        return
    try:
        seal.connection("connect", where, layer=Layer.KERNEL)
    except EgressBlocked:
        notices.answer(listener, question, errno.EPERM)
        return
    if not _waits(descriptor):
        _connect(listener, question, descriptor, raw)
    else:
        # it may take minutes, and others ask
        threading.Thread(target=_connect, args=(listener, question, descriptor, raw), daemon=True).start()


def _connect(listener: int, question: Question, descriptor: int, raw: bytes) -> None:
    failed = CONNECT(descriptor, raw, len(raw)) != 0
    notices.answer(listener, question, ctypes.get_errno() if failed else 0)


def _waits(descriptor: int) -> bool:
    try:
        return os.get_blocking(descriptor)
    except OSError:
        return False
