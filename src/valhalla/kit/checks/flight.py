"""One call of a check, on a loop or in a thread."""

from __future__ import annotations

import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from valhalla.kit.checks.contracts import Check

if TYPE_CHECKING:
    import asyncio


class Flight:
    """One call of a check, from its start until it lands, if it ever does. Times are the owner's clock."""

    def __init__(self, started: float, until: float) -> None:
        self.started = started
        self.until = until
        self.done = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    @property
    def is_lost(self) -> bool:
        """Whether it cannot land any more: the loop that it ran on is closed."""
        return self._loop is not None and self._loop.is_closed()

    def left(self, now: float) -> float:
        """Return how many seconds it may still take; none when it is over."""
        return 0.0 if self.done.is_set() else self.until - now

    def start(self, check: Check, finish: Callable[[object], None], loop: asyncio.AbstractEventLoop | None) -> None:
        """Call ``check`` on ``loop`` if it is async, else in a daemon thread: the process's end waits for no check."""
        if loop is not None and inspect.iscoroutinefunction(check):
            self._loop = loop
            self._task = loop.create_task(_awaited(check, finish))
            return
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(_called, check, finish, loop), name="check", daemon=True).start()

    def tell(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` when it lands, at once if it has."""
        with self._lock:
            if not self.done.is_set():
                self._waiting.append(listener)
                return
        listener()

    def land(self) -> None:
        """Wake all who wait."""
        with self._lock:
            self.done.set()
            waiting, self._waiting = self._waiting, []
        for listener in waiting:
            _quietly(listener)

    def abandon(self) -> None:
        """Wake all who wait, and interrupt it if that is possible."""
        if self._task is not None and self._loop is not None:
            task, loop = self._task, self._loop
            _quietly(lambda: loop.call_soon_threadsafe(task.cancel))
        self.land()


def _quietly(call: Callable[[], object]) -> None:
    try:
        call()
    except RuntimeError:
        # the loop of who waited is closed: nobody waits any more
        return


async def _awaited(check: Callable[[], Any], finish: Callable[[object], None]) -> None:
    outcome: object
    try:
        outcome = await check()
    except BaseException as error:  # noqa: BLE001 - SystemExit too is an answer; it ends no loop
        outcome = error
    finish(outcome)


def _called(check: Callable[[], Any], finish: Callable[[object], None], loop: asyncio.AbstractEventLoop | None) -> None:
    outcome: object
    try:
        outcome = check()
        if inspect.isawaitable(outcome):
            outcome = _waited_for(outcome, loop)
    except BaseException as error:  # noqa: BLE001 - SystemExit too is an answer
        outcome = error
    finish(outcome)


def _waited_for(awaitable: Awaitable[object], loop: asyncio.AbstractEventLoop | None) -> object:
    """Return what an async check answers that does not look like one: on the asker's loop, or on one of its own."""
    import asyncio

    async def wait() -> object:
        return await awaitable

    return asyncio.run(wait()) if loop is None else asyncio.run_coroutine_threadsafe(wait(), loop).result()
