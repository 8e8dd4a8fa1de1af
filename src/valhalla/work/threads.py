"""Threads for jobs' functions, kept for the next one: to start one costs more than most of what runs in it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

Call = Callable[[], None]


class Threads:
    """As many as are busy at once, which stay until ``close``.

    They are daemons: the interpreter's exit would wait for the threads of an executor, and a job may hang.
    """

    def __init__(self) -> None:
        self._idle: deque[queue.SimpleQueue[Call | None]] = deque()
        self._closed = False

    def run(self, call: Callable[[], Any], name: str) -> asyncio.Future[Any]:
        """Call ``call`` in a thread, in this context; the future has what it returned or raised, ``SystemExit`` too."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def body() -> None:
            value, problem = None, None
            try:
                value = call()
            except StopIteration as error:  # a future refuses it
                problem = RuntimeError(f"the job raised StopIteration: {error}")
            except BaseException as error:  # noqa: BLE001 - SystemExit too ends the job only
                problem = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_finish, future, value, problem)

        context = contextvars.copy_context()
        self._hand(lambda: context.run(body), f"job-{name}")
        return future

    def close(self) -> None:
        """Let the threads end that do nothing, and the others when they are done."""
        self._closed = True
        while self._idle:
            self._idle.popleft().put(None)

    def _hand(self, call: Call, name: str) -> None:
        def named() -> None:
            threading.current_thread().name = name
            call()

        try:
            inbox = self._idle.pop()
        except IndexError:
            inbox = queue.SimpleQueue[Call | None]()
            threading.Thread(target=self._serve, args=(inbox,), name=name, daemon=True).start()
        inbox.put(named)

    def _serve(self, inbox: queue.SimpleQueue[Call | None]) -> None:
        while (call := inbox.get()) is not None:
            call()
            # what it held must not live until the next one
            del call
            self._idle.append(inbox)
            if self._closed:
                inbox.put(None)


def _finish(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
