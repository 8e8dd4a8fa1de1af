"""The threads of one start of a ``WorkerProcess``, and the watch that replaces those which a job does not give back."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from valhalla.blocks.errors import WorkerNotRunning
from valhalla.blocks.jobs import Job

Execute = Callable[["Hand", Job], None]


class Hand:
    """One thread. ``lost``: its job ran out of time and did not end; ``replaced``: another thread has its place."""

    __slots__ = ("lost", "replaced", "thread")

    def __init__(self) -> None:
        self.lost = self.replaced = False
        self.thread: threading.Thread | None = None


class Crew:
    """Threads that take jobs in order of arrival until ``dismiss``. A queue in C wakes them: no polling."""

    def __init__(self, size: int, execute: Execute, beat: Callable[[], object], *, every: float, spare: int) -> None:
        """``every`` seconds an idle thread beats; at most ``spare`` lost threads are replaced."""
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._execute, self._beat, self._every, self._spare = execute, beat, every, spare
        self._hands: list[Hand] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._dismissed = False
        for _ in range(size):
            self._hire()

    @property
    def threads(self) -> list[threading.Thread]:
        """The threads that live, also the lost ones."""
        with self._lock:
            return [hand.thread for hand in self._hands if hand.thread is not None and hand.thread.is_alive()]

    @property
    def lost(self) -> int:
        """How many threads a job has not given back."""
        with self._lock:
            return sum(hand.lost for hand in self._hands)

    @property
    def working(self) -> int:
        """How many threads live and are not lost."""
        with self._lock:
            return sum(not h.lost and h.thread is not None and h.thread.is_alive() for h in self._hands)

    def put(self, job: Job) -> None:
        """Have a job run after those that are there already.

        Raises:
            WorkerNotRunning: the threads were told to end.
        """
        with self._lock:
            if self._dismissed:
                raise WorkerNotRunning(f"{job.name} was not accepted: the worker stops")
            self._queue.put(job)

    def dismiss(self) -> None:
        """Let every thread end after what is in the queue now."""
        with self._lock:
            self._dismissed = True
            for hand in self._hands:
                if not hand.lost:
                    self._queue.put(None)

    def join(self, until: float) -> bool:
        """Wait for the threads until ``time.monotonic()`` is ``until``; say whether all ended that can."""
        with self._lock:
            mine = [hand for hand in self._hands if hand.thread is not threading.current_thread()]
        for hand in mine:
            while hand.thread is not None and hand.thread.is_alive() and not hand.lost:
                left = until - time.monotonic()
                if left <= 0:
                    return False
                # in steps: it may be lost meanwhile, and then nobody waits for it
                hand.thread.join(min(left, 0.05))
        return True

    def lose(self, hand: Hand) -> None:
        """Give up a thread that does not come back from its job; another takes its place."""
        with self._lock:
            hand.lost = True
            hand.replaced = sum(one.lost for one in self._hands) <= self._spare
        if hand.replaced:
            self._hire()

    def _hire(self) -> None:
        hand = Hand()
        name = f"valhalla-worker-{next(self._numbers)}"
        hand.thread = threading.Thread(target=self._work, args=(hand,), name=name, daemon=True)
        with self._lock:
            self._hands.append(hand)
        hand.thread.start()

    def _work(self, hand: Hand) -> None:
        get, beat, execute, every = self._queue.get, self._beat, self._execute, self._every
        while not (hand.lost and self._is_over(hand)):
            beat()
            try:
                job = get(timeout=every)
            except Empty:
                continue
            if job is None:
                break
            execute(hand, job)
            # the loop waits with nothing in its hands: a result is as large as it likes
            del job
        with self._lock:
            self._hands.remove(hand)

    def _is_over(self, hand: Hand) -> bool:
        """Say whether a thread that came back after all has nothing left to do."""
        with self._lock:
            hand.lost = hand.replaced
            return hand.replaced or self._dismissed


_Entry = tuple[float, int, Hand, Job]


class Watch:
    """Calls ``late`` for jobs past their time. Its thread begins with the first job that has one."""

    def __init__(self, late: Callable[[Hand, Job], None]) -> None:
        self._late = late
        self._due: list[_Entry] = []
        self._order = itertools.count()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, hand: Hand, job: Job, seconds: float) -> None:
        """Watch a job that begins now."""
        with self._wake:
            if self._closed:
                return
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), hand, job))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="valhalla-worker-watch", daemon=True)
                self._thread.start()
            self._wake.notify()

    def close(self) -> None:
        """End the thread."""
        with self._wake:
            self._closed = True
            self._due.clear()
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._closed and (not self._due or self._due[0][0] > time.monotonic()):
                    self._prune()
                    self._wake.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if self._closed:
                    return
                _, _, hand, job = heapq.heappop(self._due)
            self._late(hand, job)

    def _prune(self) -> None:
        # most jobs end in time: theirs are not kept until they would have been late
        if len(self._due) > _PRUNE and sum(job.func is None for *_, job in self._due) > len(self._due) // 2:
            self._due = [entry for entry in self._due if entry[3].func is not None]
            heapq.heapify(self._due)


_PRUNE: Final = 1000
