"""A call on a thread of its own, which the kernel holds and which ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from valhalla.guard.egress.contracts import Layer
from valhalla.guard.egress.current import HELD, Held
from valhalla.guard.egress.errors import SealTimeout
from valhalla.guard.egress.kernel import filter as rules
from valhalla.guard.egress.kernel import install, sockets, supervisor
from valhalla.guard.egress.kernel.contracts import Locked, Refused
from valhalla.guard.egress.kernel.syscalls import architecture

if TYPE_CHECKING:
    from valhalla.guard.egress.seal import Seal

T = TypeVar("T")

# struct sockaddr_in and sockaddr_in6. Others are not asked about: libc connects to local daemons for user names, in
# calls that hold the interpreter's lock, which whoever answers would need
_LENGTHS: Final = (16, 28)
_LIMITS: Final = "threads and pools from before the call are outside, and their work is refused"


class _Call:
    """One call and what becomes of it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.ready = threading.Event()
        self.done = threading.Event()
        self.locked = Locked(False)
        self.listener: int | None = None
        self.value: Any = None
        self.error: BaseException | None = None


def run(seal: Seal, function: Callable[[], T], deadline: float | None) -> T:
    """Call ``function`` in a held thread and wait for it.

    Raises:
        SealTimeout: it did not end within ``deadline`` seconds.
    """
    call = _Call(function)
    reader, writer = os.pipe()
    thread = threading.Thread(target=_body, args=(seal, call, writer), name="valhalla-sealed", daemon=True)
    try:
        thread.start()
        call.ready.wait()
        seal.covered(call.locked)
        if call.listener is None:
            call.done.wait(deadline)
        else:
            supervisor.supervise(seal, call.listener, reader, deadline)
    finally:
        os.close(reader)
        if call.listener is not None:
            os.close(call.listener)
    if not call.done.is_set():
        raise SealTimeout(f"the sealed call did not end within {deadline} s; its thread goes on, sealed")
    if call.error is not None:
        raise call.error
    return cast("T", call.value)


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
            call.listener = _lock(seal)
            held.filtered = True
            call.locked = Locked(True, _LIMITS)
        except Refused as refused:
            call.locked = Locked(False, str(refused))
        finally:
            call.ready.set()
        call.value = call.function()
    except BaseException as error:  # noqa: BLE001 - it belongs to the caller
        call.error = error
    finally:
        call.done.set()
        HELD.pop(me, None)
        # the end of a pipe that is gone wakes the other side as well as a byte
        os.close(writer)


def _lock(seal: Seal) -> int | None:
    if Layer.KERNEL not in seal.layers:
        raise Refused("not asked for")
    machine = architecture()
    plan = rules.Plan(
        descriptors=sockets.leading_out(seal.may_connect),
        ask=_LENGTHS if seal.connects else (),
        ask_all=seal.connects_locally,
        files=seal.changes_files,
    )
    return install.install(rules.build(plan, machine), listener=plan.asks)
