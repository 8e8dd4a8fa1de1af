"""Whose turn it is to identify: of shards with the same ``shard % max_concurrency`` one in five seconds."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Final

EVERY: Final = 5.25
"""Seconds; a little more than Discord's five, for the way there."""


class Turns:
    """The turns of all shards of one process."""

    def __init__(self, max_concurrency: int, every: float = EVERY) -> None:
        self._buckets = max(max_concurrency, 1)
        self._every = every
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._next: dict[int, float] = {}

    async def begin(self, shard: int) -> Callable[[], None]:
        """Wait for the shard's turn and return what ends it; the bucket's next comes ``every`` seconds after that."""
        bucket = shard % self._buckets
        now = asyncio.get_running_loop().time
        lock = self._locks[bucket]
        await lock.acquire()
        try:
            await asyncio.sleep(max(self._next.get(bucket, 0.0) - now(), 0.0))
        except BaseException:
            lock.release()
            raise
        ended = False

        def end() -> None:
            nonlocal ended
            if not ended:
                ended = True
                self._next[bucket] = now() + self._every
                lock.release()

        return end
