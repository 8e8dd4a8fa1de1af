"""Callers go first: background work asks here before it begins its next piece."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from contextlib import contextmanager


class Load:
    """How many callers wait for an answer at this moment, in this process."""

    def __init__(self, *, many: int = 4) -> None:
        """From ``many`` callers on, what can wait should wait."""
        self._many = many
        self._few = asyncio.Event()
        self._few.set()
        self.waiting = 0

    @contextmanager
    def caller(self) -> Generator[None]:
        """Count one caller while it waits."""
        self.waiting += 1
        if self.waiting == self._many:
            self._few.clear()
        try:
            yield
        finally:
            self.waiting -= 1
            if self.waiting == self._many - 1:
                self._few.set()

    async def quiet(self, patience: float) -> None:
        """Return when few callers wait, or after ``patience`` seconds: a burst delays what asks, never stops it."""
        if not self._few.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._few.wait(), patience)
