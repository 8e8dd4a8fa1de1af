"""Requests that wait for a registry to change: long polls and server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from valhalla.kernel.problems import Problem
from valhalla.kit.changes.feed import Feed
from valhalla.kit.waiting import first_of, note_waited

MAX_WAIT: Final = 60.0
_SIGN_OF_LIFE: Final = 15.0


class TooManyFollowers(Problem):
    """So many requests wait for changes that one more is refused."""

    code = "too-many-followers"
    status = 503
    title = "Too many requests wait for changes"
    help = "Come again after Retry-After, or ask without waiting."


class Followers:
    """Those who wait for a change of any of some registries. ``close`` ends all waiting, also for who comes later."""

    def __init__(self, feed: Feed, *registries: str, most: int = 2_000) -> None:
        self._feed = feed
        self._registries = registries
        self._most = most
        self._waiting = 0
        self._closed = asyncio.Event()

    @property
    def revision(self) -> str:
        """The revisions of this process's snapshots, as one word."""
        return ".".join(str(self._feed.snapshot(name).revision) for name in self._registries)

    def close(self) -> None:
        """Let everybody go: the process is about to end."""
        self._closed.set()

    async def wait(self, known: str, seconds: float) -> bool:
        """Wait up to ``seconds`` until the revision is not ``known`` any more; say whether it is another.

        Raises:
            TooManyFollowers: too many wait already.
        """
        if self.revision != known or self._closed.is_set():
            return self.revision != known
        if self._waiting >= self._most:
            raise TooManyFollowers(retry_after=5)
        moved = asyncio.Event()
        ends = [self._feed.subscribe(name, lambda _: moved.set()) for name in self._registries]
        self._waiting += 1
        begun = time.monotonic()
        try:
            await first_of(moved, self._closed, seconds=seconds)
        finally:
            self._waiting -= 1
            note_waited(time.monotonic() - begun)
            for end in ends:
                end()
        return self.revision != known

    async def stream(self, known: str | None, tell: Callable[[], tuple[str, bytes]]) -> AsyncIterator[bytes]:
        """Go through server-sent events: what ``tell`` says (an event's type and data) at every change.

        One at once if ``known``, the id of the last event that was seen, is not the present revision.
        """
        known = self.revision if known is None else known
        yield b"retry: 2000\n\n"
        while not self._closed.is_set():
            if await self.wait(known, _SIGN_OF_LIFE):
                known = self.revision
                kind, data = tell()
                yield b"id: %b\nevent: %b\ndata: %b\n\n" % (known.encode(), kind.encode(), data)
            elif not self._closed.is_set():
                yield b": still here\n\n"
