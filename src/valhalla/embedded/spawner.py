"""A thread that starts the children.

Linux sends the parent-death signal when the *thread* that started a child ends. This one lives as long as the process,
so a stack may be started and its services restarted from any thread, however short its life.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

_Task = tuple[Callable[[], int], "SimpleQueue[int | OSError]"]


class Spawner:
    """Runs functions that start a process and return its id, one after the other, on a thread of its own."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def call(self, spawn: Callable[[], int]) -> int:
        """Run ``spawn`` on the thread and return its answer.

        Raises:
            OSError: what ``spawn`` raised.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="valhalla-spawner", daemon=True)
            self._thread.start()
        answer: SimpleQueue[int | OSError] = SimpleQueue()
        self._tasks.put((spawn, answer))
        outcome = answer.get()
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    def close(self) -> None:
        """End the thread; only when no child is left, because they end with it."""
        if self._thread is not None:
            self._thread = None
            self._tasks.put(None)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            spawn, answer = task
            try:
                answer.put(spawn())
            except OSError as error:
                answer.put(error)
