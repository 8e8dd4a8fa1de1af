"""A call on a thread of its own, which the kernel holds and which ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from valhalla.guard.egress.contracts import Layer
from valhalla.guard.egress.current import HELD, Held
from valhalla.guard.egress.errors import SealTimeout
from valhalla.guard.egress.kernel import filter as rules
from valhalla.guard.egress.kernel import install, sockets
from valhalla.guard.egress.kernel.contracts import Locked, Refused
from valhalla.guard.egress.kernel.helping import HELPING
from valhalla.guard.egress.kernel.syscalls import architecture

if TYPE_CHECKING:
    from valhalla.guard.egress.seal import Seal

T = TypeVar("T")

# struct sockaddr_in and sockaddr_in6; libc's own connections to local daemons are refused without a question
_LENGTHS: Final = (16, 28)
_LIMITS: Final = "threads and pools from before the call are outside, and their work is refused"


class _Call:
    """One call and what becomes of it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.installed = threading.Event()
        self.go = threading.Event()
        self.refused: Refused | None = None
        self.done = threading.Event()
        self.locked = Locked(False)
        self.listener: int | None = None
        self.value: Any = None
        self.error: BaseException | None = None

    def deafen(self) -> None:
        """Let the kernel refuse what it would have asked about."""
        if self.listener is not None:
            os.close(self.listener)
            self.listener = None


def run(seal: Seal, function: Callable[[], T], deadline: float | None) -> T:
    """Call ``function`` in a held thread and wait for it.

    Raises:
        SealTimeout: it did not end within ``deadline`` seconds.
    """
    call = _Call(function)
    if Layer.KERNEL in seal.layers and seal.connects:
        try:
            HELPING.ready()
        except Refused as refused:
            call.refused = refused
    reader, writer = os.pipe()
    thread = threading.Thread(target=_body, args=(seal, call, writer), name="valhalla-sealed", daemon=True)
    report: socket.socket | None = None
    try:
        thread.start()
        call.installed.wait()
        if call.listener is not None:
            try:
                report = HELPING.take(call.listener, seal)
            except Refused as refused:
                # the thread has its filter: now it can connect to nothing
                call.deafen()
                call.locked = Locked(True, f"{_LIMITS}; no connection can be made: {refused}")
        seal.covered(call.locked)
        call.go.set()
        _wait(seal, call, reader, report, deadline)
    finally:
        call.go.set()
        os.close(reader)
        if report is not None:
            report.close()
        call.deafen()
    if not call.done.is_set():
        raise SealTimeout(f"the sealed call did not end within {deadline} s; its thread goes on, sealed")
    if call.error is not None:
        raise call.error
    return cast("T", call.value)


def _wait(seal: Seal, call: _Call, done: int, report: socket.socket | None, deadline: float | None) -> None:
    until = None if deadline is None else time.monotonic() + deadline
    poll = select.poll()
    poll.register(done, select.POLLIN)
    if report is not None:
        poll.register(report, select.POLLIN)
    while True:
        left = None if until is None else max(0.0, until - time.monotonic())
        ready = {descriptor for descriptor, _ in poll.poll(None if left is None else left * 1000)}
        if report is not None and report.fileno() in ready:
            words = report.recv(4096)
            if not words:
                # the helper is gone, and nobody would answer
                poll.unregister(report)
                report = None
                call.deafen()
                continue
            seal.refused_elsewhere(json.loads(words))
        elif done in ready or not ready:
            return


async def arun(seal: Seal, function: Callable[[], Awaitable[T]], deadline: float | None) -> T:
    """Await ``function`` on a loop of its own in a held thread."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    async def awaited() -> T:
        return await function()

    def work() -> None:
        try:
            value = run(seal, lambda: asyncio.run(awaited()), deadline)
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller
            _tell(loop, future, None, error)
        else:
            _tell(loop, future, value, None)

    threading.Thread(target=work, name="valhalla-sealing", daemon=True).start()
    return await future


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], value: Any, error: BaseException | None
) -> None:
    def settle() -> None:
        if future.done():
            return
        # a future refuses StopIteration
        if isinstance(error, StopIteration):
            future.set_exception(RuntimeError("the sealed call raised StopIteration"))
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)

    # the caller's loop may have ended
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(settle)


def _body(seal: Seal, call: _Call, writer: int) -> None:
    me = threading.get_ident()
    try:
        HELD[me] = held = Held(seal, filtered=False)
        try:
            call.listener = _lock(seal, call)
            held.filtered = True
            call.locked = Locked(True, _LIMITS)
        except Refused as refused:
            call.locked = Locked(False, str(refused))
        finally:
            call.installed.set()
        call.go.wait()
        call.value = call.function()
    except BaseException as error:  # noqa: BLE001 - it belongs to the caller
        call.error = error
    finally:
        call.done.set()
        HELD.pop(me, None)
        # the end of a pipe that is gone wakes the other side as well as a byte
        os.close(writer)


def _lock(seal: Seal, call: _Call) -> int | None:
    if Layer.KERNEL not in seal.layers:
        raise Refused("not asked for")
    if call.refused is not None:
        raise call.refused
    machine = architecture()
    plan = rules.Plan(
        descriptors=sockets.leading_out(seal.may_connect),
        ask=_LENGTHS if seal.connects else (),
        ask_all=seal.connects_locally,
        files=seal.changes_files,
    )
    return install.install(rules.build(plan, machine), listener=plan.asks)
