"""Many small things that are written off the path of who made them: in batches, bounded, never waited for."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Generic, TypeVar

from valhalla.kernel.problems import Unavailable
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff, first_of
from valhalla.kit.writing import upkeep

T = TypeVar("T")
_log = get_logger("batches")
_ATTEMPTS: Final = 3


class Batches(Generic[T]):
    """A queue of at most ``most`` things. What does not fit, or cannot be written, is counted and gone."""

    def __init__(
        self,
        name: str,
        write: Callable[[list[T]], Awaitable[None]],
        *,
        most: int = 20_000,
        batch: int = 2_000,
        pause: float = 0.25,
    ) -> None:
        """``write`` stores up to ``batch`` things, or raises and has stored none; ``pause`` in seconds."""
        self._name = name
        self._write = write
        self._most = most
        self._batch = batch
        self._pause = pause
        self._waiting: deque[T] = deque()
        # taken only where something is lost: a put that succeeds is one append, which threads may do at once
        self._lock = threading.Lock()
        self._writing = asyncio.Lock()
        self._taken: list[T] = []
        self._failures = 0
        self.written = 0
        self.dropped = 0
        self.beat: Callable[[], None] = lambda: None
        """Called at every turn, whatever came of it."""
        self.last_error: str | None = None

    def __len__(self) -> int:
        return len(self._waiting) + len(self._taken)

    def put(self, item: T) -> bool:
        """Leave one thing, from any thread; ``False``: there is no room."""
        if len(self._waiting) >= self._most:
            self._drop(1)
            return False
        self._waiting.append(item)
        return True

    def counts(self) -> Mapping[str, int]:
        """Return what became of what was put here."""
        return {"waiting": len(self), "written": self.written, "dropped": self.dropped}

    async def run(self, stop: asyncio.Event) -> None:
        """Write until told to stop, then once more."""
        backoff = Backoff(self._pause, 30.0)
        pause = self._pause
        self.beat()
        while not await first_of(stop, seconds=pause):
            self.beat()
            try:
                await self.flush()
            except Unavailable:
                # the database says so itself in many other places
                pause = backoff.next()
            except Exception as error:  # noqa: BLE001 - it outlives whatever it meets, and says so
                if self.last_error != (kind := type(error).__name__):
                    self.last_error = kind
                    _log.exception("a batch could not be written", what=self._name)
                pause = backoff.next()
            else:
                self.last_error, pause = None, self._pause
                backoff.reset()
        try:
            await self.flush()
        except Exception as error:  # noqa: BLE001 - it ends, and nobody is left to try again
            _log.warning("a batch was lost at the end", what=self._name, items=len(self), error=type(error).__name__)

    async def flush(self) -> None:
        """Write what waits now; what cannot be written waits again, and after three refusals is dropped.

        Raises:
            Unavailable: the store cannot be reached; nothing is dropped for that.
        """
        # what was taken is written, also while users may not write: who took it has been asked
        with upkeep():
            async with self._writing:
                await self._flush()

    async def _flush(self) -> None:
        left = len(self)
        while left > 0:
            if not self._taken:
                self._taken = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
            size = len(self._taken)
            try:
                await self._write(self._taken)
            except Unavailable:
                raise
            except Exception:
                self._failures += 1
                if self._failures >= _ATTEMPTS:
                    # one thing that can never be stored must not hold up all that come after it
                    self._drop(size)
                    self._taken, self._failures = [], 0
                raise
            self._taken, self._failures = [], 0
            self.written += size
            left -= size

    def _drop(self, count: int) -> None:
        with self._lock:
            self.dropped += count
