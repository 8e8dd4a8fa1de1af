"""The two drivers of the guard's procedures.

A procedure is a generator: it yields what has to be done (a store's verb, the effect, a pause) and gets the answer
sent in. So each procedure is written once, and only these two functions know whether the caller waits in a thread or on
an event loop.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from valhalla.guard.contracts import BeginRequest, CasRequest, Scan
from valhalla.guard.errors import NotDone

if TYPE_CHECKING:
    from valhalla.guard.stores import Store

T = TypeVar("T")


class Invoke(Struct, frozen=True):
    """Call user code; ``timeout`` in seconds cuts coroutines only."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None
    timeout: float | None = None


class Pause(Struct, frozen=True):
    """Wait ``seconds``, or until the row ``id`` changes where the store can tell."""

    seconds: float
    id: str | None = None


class On(Struct, frozen=True):
    """A verb on another store than the guard's: the caller's own transaction."""

    store: Store
    request: BeginRequest | CasRequest


Command = BeginRequest | CasRequest | Scan | Invoke | Pause | On
Steps = Generator[Command, Any, T]


def run(steps: Steps[T], store: Store, stop: threading.Event) -> T:
    """Drive a procedure in the caller's thread. ``stop`` ends pauses early."""
    try:
        command = next(steps)
        while True:
            try:
                answer = _answer(command, store, stop)
            except BaseException as error:  # noqa: BLE001 - the procedure decides what every error means
                command = steps.throw(error)
            else:
                command = steps.send(answer)
    except StopIteration as end:
        return end.value


def _answer(command: Command, store: Store, stop: threading.Event) -> Any:  # noqa: PLR0911 - one line per command
    if isinstance(command, BeginRequest):
        return store.begin(command)
    if isinstance(command, CasRequest):
        return store.cas(command)
    if isinstance(command, Scan):
        return store.scan(command)
    if isinstance(command, Invoke):
        return _call(command)
    if isinstance(command, On):
        request = command.request
        return command.store.begin(request) if isinstance(request, BeginRequest) else command.store.cas(request)
    wait = getattr(store, "wait", None)
    if command.id is not None and wait is not None:
        return wait(command.id, command.seconds)
    return stop.wait(command.seconds)


def _call(command: Invoke) -> Any:
    result = command.function(*command.args, **(command.kwargs or {}))
    if not inspect.iscoroutine(result):
        return result
    # an async action that a worker dispatches from a thread: a coroutine that nobody awaits has done nothing
    if not is_on_loop():
        import asyncio

        return asyncio.run(_within(result, command.timeout))
    result.close()
    raise NotDone("an async action cannot run here: this thread's event loop is running; use the async call")


def is_on_loop() -> bool:
    """Say whether an event loop runs in this thread."""
    # Who runs a loop has imported it. For all others the import would be half of the memory that the guard takes.
    running = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return running is not None and running() is not None


async def arun(steps: Steps[T], store: Store, stop: threading.Event) -> T:
    """Drive a procedure on the event loop."""
    try:
        command = next(steps)
        while True:
            try:
                answer = _started(command, store)
                if inspect.isawaitable(answer):
                    answer = await answer
            except GeneratorExit as error:
                # the task is being thrown away and may not wait any more: write the end down at once
                command = steps.throw(error)
                while True:
                    command = steps.send(_answer(command, store, stop))
            except BaseException as error:  # noqa: BLE001 - the procedure decides what every error means
                command = steps.throw(error)
            else:
                command = steps.send(answer)
    except StopIteration as end:
        return end.value


def _started(command: Command, store: Store) -> Any:  # noqa: PLR0911 - one line per command
    """Return the answer or what has to be awaited for it."""
    if isinstance(command, Invoke):
        result = command.function(*command.args, **(command.kwargs or {}))
        timed = command.timeout is not None and inspect.isawaitable(result)
        return _within(result, command.timeout) if timed else result
    if isinstance(command, Pause):
        import asyncio

        return asyncio.sleep(command.seconds)
    if isinstance(command, On):
        request, store = command.request, command.store
    else:
        request = command
    if store.instant:
        if isinstance(request, BeginRequest):
            return store.begin(request)
        return store.cas(request) if isinstance(request, CasRequest) else store.scan(request)
    if isinstance(request, BeginRequest):
        return store.abegin(request)
    if isinstance(request, CasRequest):
        if getattr(store, "keeps_ends", False):
            return store.acas(request)
        import asyncio

        # a second cancellation must not tear the end of an effect from its record
        return asyncio.shield(asyncio.ensure_future(store.acas(request)))
    return store.ascan(request)


async def _within(result: Awaitable[Any], seconds: float | None) -> Any:
    if seconds is None:
        return await result
    import asyncio

    async with asyncio.timeout(seconds):
        return await result
