"""Group commit: callers that come while a batch is being written share the next one.

No thread of its own: the first caller leads, writes what is queued, and hands over to one of those who came meanwhile.
Alone, a caller pays for one lock. Callers on an event loop are led by a thread of ``executor``.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Final, Generic, TypeVar

from valhalla.kernel.problems import Unavailable

Q = TypeVar("Q")
A = TypeVar("A")
MOST: Final = 64


class Slot(Generic[Q, A]):
    """One caller's request and, later, its answer."""

    __slots__ = ("answer", "error", "future", "leads", "loop", "request", "wake")

    def __init__(self, request: Q, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.request = request
        self.answer: A | None = None
        self.error: BaseException | None = None
        self.leads = False
        self.loop = loop
        self.future: asyncio.Future[None] | None = None if loop is None else loop.create_future()
        # a lock that is taken already is the cheapest thing to wait for
        self.wake = threading.Lock()

    def result(self) -> A:
        """Return the answer or raise the error."""
        if self.error is not None:
            raise self.error
        return self.answer  # pyright: ignore[reportReturnType] - set by whoever woke us

    def done(self) -> None:
        """Let the caller go on."""
        if self.loop is None:
            self.wake.release()
            return
        try:
            self.loop.call_soon_threadsafe(self._resolve)
        except RuntimeError:
            # the loop was closed: nobody waits any more
            return

    def _resolve(self) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_result(None)


class Combiner(Generic[Q, A]):
    """Runs requests in batches, at most ``lanes`` batches at a time.

    ``write`` gets one to ``most`` requests and returns one answer each, exceptions included; what it raises, all get.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Q]], Sequence[A | BaseException]],
        *,
        lanes: int = 1,
        most: int = MOST,
        executor: Callable[[], Executor] | None = None,
    ) -> None:
        self._write = write
        self._most = most
        self._executor = executor
        self._free = lanes
        self._queue: deque[Slot[Q, A]] = deque()
        self._lock = threading.Lock()

    def submit(self, request: Q) -> A:
        """Have the request written together with others; wait for the answer."""
        slot: Slot[Q, A] = Slot(request)
        with self._lock:
            leads = self._free > 0
            if leads:
                self._free -= 1
            else:
                slot.wake.acquire()
                self._queue.append(slot)
        if not leads:
            self._wait(slot)
            if not slot.leads:
                return slot.result()
        self._lead(slot)
        return slot.result()

    async def asubmit(self, request: Q) -> A:
        """Async twin of ``submit``; a thread writes."""
        slot: Slot[Q, A] = Slot(request, asyncio.get_running_loop())
        with self._lock:
            leads = self._free > 0
            if leads:
                self._free -= 1
            else:
                self._queue.append(slot)
        if leads:
            self._start(slot)
        assert slot.future is not None
        await slot.future
        return slot.result()

    def _wait(self, slot: Slot[Q, A]) -> None:
        try:
            slot.wake.acquire()
        except BaseException:
            # interrupted: nobody may be left waiting for a leader who has gone
            with self._lock:
                if slot in self._queue:
                    self._queue.remove(slot)
                leads = slot.leads
            if leads:
                self._hand_over()
            raise

    def _lead(self, slot: Slot[Q, A]) -> None:
        with self._lock:
            batch = [slot]
            while self._queue and len(batch) < self._most:
                batch.append(self._queue.popleft())
        try:
            answers = self._answers([one.request for one in batch])
            for one, answer in zip(batch, answers, strict=True):
                if isinstance(answer, BaseException):
                    one.error = answer
                else:
                    one.answer = answer
        except BaseException as error:
            for one in batch:
                # each caller gets an exception of its own: a traceback grows while it is raised
                one.error = _copy(error)
            slot.error = error if isinstance(error, Exception) else None
            if slot.error is None:
                raise
        finally:
            self._hand_over()
            for one in batch:
                if one is not slot or one.loop is not None:
                    one.done()

    def _answers(self, requests: list[Q]) -> Sequence[A | BaseException]:
        try:
            return self._write(requests)
        except Unavailable:
            raise
        except Exception:
            if len(requests) == 1:
                raise
        # one of them cannot be written: the others must not suffer for it
        answers: list[A | BaseException] = []
        for request in requests:
            try:
                answers += self._write([request])
            except Exception as error:  # noqa: BLE001 - given to the caller whose request it is
                answers.append(error)
        return answers

    def _hand_over(self) -> None:
        with self._lock:
            heir = self._queue.popleft() if self._queue else None
            if heir is None:
                self._free += 1
                return
            heir.leads = True
        if heir.loop is None:
            heir.wake.release()
        else:
            self._start(heir)

    def _start(self, slot: Slot[Q, A]) -> None:
        assert self._executor is not None
        try:
            self._executor().submit(self._lead, slot)
        except RuntimeError as error:
            slot.error = Unavailable("store", f"the store is closed ({error})")
            slot.done()
            self._hand_over()


def _copy(error: BaseException) -> BaseException:
    if isinstance(error, Unavailable):
        copied: Any = Unavailable(error.backend, error.detail, retry_after=error.retry_after, help=error.advice)
        copied.__cause__ = error.__cause__
        return copied
    return error if isinstance(error, Exception) else Unavailable("store", "the caller who wrote was interrupted")
