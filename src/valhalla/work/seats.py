"""The seats of a worker: which jobs run here, which were taken ahead of a free seat, and how far ahead is sensible."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from valhalla.work.contracts import Job
from valhalla.work.running import Attempt

_AHEAD: Final = 0.05
_MOST: Final = 500
_KEPT: Final = 0.25


class Seats:
    """``concurrency`` jobs run at once; short ones are taken ahead, so that a round trip brings more than the seats.

    How many is what ended here in the last moment: with long jobs none, so that others may have them. One that waits
    longer than that promised is handed back.
    """

    def __init__(self, concurrency: int, call: Callable[[Attempt], Coroutine[Any, Any, None]]) -> None:
        self.concurrency = concurrency
        self._call = call
        self._waiting: deque[tuple[float, Attempt]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = 0
        self._since = time.monotonic()
        self._rate = 0.0
        self.attempts: dict[str, Attempt] = {}
        self.freed = asyncio.Event()

    @property
    def wanted(self) -> int:
        """How many jobs to take now; 0 while what was taken ahead still lasts."""
        free = self.concurrency - len(self._tasks)
        ahead = min(_MOST, int(self._pace() * _AHEAD))
        waiting = len(self._waiting)
        # half of it is taken at once: a job at a time would be a round trip each
        return 0 if waiting > ahead // 2 or free + ahead <= waiting else free + ahead - waiting

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """What runs."""
        return set(self._tasks)

    def add(self, attempt: Attempt) -> None:
        """Run it, as soon as a seat is free."""
        self.attempts[attempt.job.id] = attempt
        self._waiting.append((time.monotonic(), attempt))
        self._fill()

    def leave(self, job: Job) -> None:
        """Forget a job whose outcome is written or will be another's."""
        current = self.attempts.get(job.id)
        if current is not None and current.job.generation == job.generation:
            del self.attempts[job.id]

    def overdue(self, *, everything: bool = False) -> list[Attempt]:
        """Take out and return what has waited for a seat for too long; it was not begun."""
        late = time.monotonic() - _KEPT
        found: list[Attempt] = []
        while self._waiting and (everything or self._waiting[0][0] < late):
            found.append(self._waiting.popleft()[1])
        return found

    @property
    def has_waiting(self) -> bool:
        """Whether something was taken that has no seat yet."""
        return bool(self._waiting)

    def _fill(self) -> None:
        while self._waiting and len(self._tasks) < self.concurrency:
            _, attempt = self._waiting.popleft()
            task = asyncio.create_task(self._call(attempt), name=f"job-{attempt.job.id}")
            self._tasks.add(task)
            task.add_done_callback(self._free)

    def _free(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._ended += 1
        self._fill()
        self.freed.set()

    def _pace(self) -> float:
        now = time.monotonic()
        if (passed := now - self._since) > 0.02:
            self._rate = self._ended / passed
            self._ended, self._since = 0, now
        return self._rate
