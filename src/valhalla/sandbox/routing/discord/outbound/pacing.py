"""Discord's rate limits, kept for all sandboxes together: the token has them, not the bot.

https://discord.com/developers/docs/topics/rate-limits: a bucket per route and major id, told of in headers, and fifty
requests a second altogether.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from typing import Final

from valhalla.sandbox.routing.discord.outbound.mistakes import Mistakes

_EVERYWHERE: Final = 50
_SECOND: Final = 1.0
_MOST: Final = 10_000
_ANSWER: Final = 1.0
_WAITING: Final = 20
"""Requests of one sandbox that may wait: those of the others come in between."""


class TooMany(Exception):  # noqa: N818 - what the answer is
    """The request may not be made now, and its turn is too far away to wait for."""

    def __init__(self, seconds: float, *, everywhere: bool = False) -> None:
        super().__init__()
        self.seconds = seconds
        self.everywhere = everywhere


class _Bucket:
    __slots__ = ("free", "lock", "remaining", "told", "until")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        # before Discord has said how many there are, one is tried
        self.remaining = 1
        self.until = 0.0
        self.told = asyncio.Event()
        self.free = False


class Pacer:
    """Lets requests go when Discord would take them. ``patience``: seconds that a request waits here at most."""

    def __init__(self, patience: float = 5.0, everywhere: int = _EVERYWHERE, mistakes: Mistakes | None = None) -> None:
        self._mistakes = mistakes or Mistakes()
        self._patience = patience
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._sent: deque[float] = deque(maxlen=everywhere)
        self._closed_until = 0.0
        self._waiting: Counter[str] = Counter()

    async def turn(self, sandbox: str, bucket: str) -> None:
        """Wait until a request may be made, and count it.

        Raises:
            TooMany: that would take too long, or this sandbox has too many waiting.
        """
        if (wait := self._mistakes.wait(sandbox)) > 0:
            raise TooMany(wait)
        if self._waiting[sandbox] >= _WAITING:
            raise TooMany(1.0)
        self._waiting[sandbox] += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._take(self._bucket(bucket))
        except TimeoutError as error:
            raise TooMany(max(0.1, self._bucket(bucket).until - time.monotonic())) from error
        finally:
            self._waiting[sandbox] -= 1
            if not self._waiting[sandbox]:
                del self._waiting[sandbox]

    def learn(self, sandbox: str, bucket: str, status: int, headers: Mapping[str, str]) -> None:
        """Take over what an answer says."""
        self._mistakes.note(sandbox, status, headers.get("x-ratelimit-scope"))
        now = time.monotonic()
        after = _seconds(headers.get("x-ratelimit-reset-after"))
        if status == 429:
            after = max(after or 0.0, _seconds(headers.get("retry-after")) or 1.0)
            if headers.get("x-ratelimit-global") or headers.get("x-ratelimit-scope") == "global":
                self._closed_until = max(self._closed_until, now + after)
                return
            mine = self._bucket(bucket)
            mine.remaining, mine.until, mine.free = 0, max(mine.until, now + after), False
            mine.told.set()
            return
        left = headers.get("x-ratelimit-remaining", "")
        mine = self._bucket(bucket)
        if after is None or not left.isdigit():
            # a route without a limit of its own
            mine.free = mine.remaining > 0 or now >= mine.until or not mine.told.is_set()
            mine.told.set()
            return
        # requests that are under way have been taken off already
        fresh = now >= mine.until or not mine.told.is_set()
        mine.remaining = int(left) if fresh else min(mine.remaining, int(left))
        mine.until, mine.free = now + after, False
        mine.told.set()

    async def _take(self, bucket: _Bucket) -> None:
        # first come, first served: who waits here waits in line
        async with bucket.lock:
            while True:
                now = time.monotonic()
                if bucket.remaining <= 0 and now >= bucket.until:
                    # a new window: one is tried, and the others wait for what is said to it, or that it is lost
                    bucket.remaining = 1
                    bucket.told.clear()
                short = bucket.until - now if bucket.remaining <= 0 and not bucket.free else 0.0
                wait = max(self._closed_until - now, self._rush(now), short)
                if wait <= 0:
                    break
                if wait > self._patience:
                    raise TooMany(wait, everywhere=self._closed_until - now >= wait)
                if short < wait or bucket.told.is_set():
                    await asyncio.sleep(wait)
                else:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await bucket.told.wait()
            bucket.remaining -= 1
            if not bucket.told.is_set() and not bucket.free:
                bucket.until = now + _ANSWER
            self._sent.append(time.monotonic())

    def _rush(self, now: float) -> float:
        full = len(self._sent) == self._sent.maxlen
        return self._sent[0] + _SECOND - now if full else 0.0

    def _bucket(self, name: str) -> _Bucket:
        found = self._buckets.get(name)
        if found is None:
            if len(self._buckets) >= _MOST:
                self._buckets.popitem(last=False)
            found = self._buckets[name] = _Bucket()
        self._buckets.move_to_end(name)
        return found


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else min(max(0.0, float(text)), 86_400.0)
    except ValueError:
        return None
