"""Reads the outbox for every listener of this process at once: one query per wake-up, however many listen.

A sink is run by one process of the fleet, and every process has listeners: so each hears NOTIFY and reads for itself.
Numbers are given before transactions end, so a lower one can appear later: those that are missing are asked for again
for a while, and nobody resumes behind one that is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from valhalla.features.observability.stream import store
from valhalla.features.observability.stream.contracts import Bounds
from valhalla.features.observability.stream.hub import Hub
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.listening import Link, listening
from valhalla.kit.log import get_logger
from valhalla.kit.outbox.store import CHANNEL
from valhalla.kit.waiting import Backoff, first_of

log = get_logger("events")
_BATCH: Final = 500
_WINDOW: Final = 256
_MOST_GAPS: Final = 1000
_GATHER: Final = 0.01
_POLL: Final = 2.0
_LINGER: Final = 30.0


class Position:
    """Up to where was read, and which numbers below may still come; pure."""

    def __init__(self, high: int, missing: list[int], now: float, patience: float) -> None:
        self.high = high
        self.gaps = dict.fromkeys(missing, now)
        self._patience = patience

    def saw(self, number: int, now: float) -> None:
        """Note an event that was read."""
        if number <= self.high:
            self.gaps.pop(number, None)
            return
        for missing in range(max(self.high + 1, number - _MOST_GAPS), number):
            self.gaps[missing] = now
        self.high = number

    def settle(self, now: float) -> int:
        """Give up on numbers that are missing for long, as those of transactions that failed; return where it is safe.

        Everything up to that number was seen, or will never be.
        """
        for number in [number for number, since in self.gaps.items() if now - since >= self._patience]:
            del self.gaps[number]
        return min(self.gaps) - 1 if self.gaps else self.high


class Reader:
    """Runs in every process; it is connected only while somebody listens."""

    def __init__(self, db: Database, hub: Hub, bounds: Bounds) -> None:
        self._db = db
        self._hub = hub
        self._bounds = bounds
        self._wake = asyncio.Event()
        self._position: Position | None = None
        self.queries = 0
        self.beat: Callable[[], None] = lambda: None
        """Called at every turn."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; a lost database is waited for, and then read from where it was lost."""
        backoff = Backoff(0.2, 5.0)
        while not stop.is_set():
            self.beat()
            if not await first_of(self._hub.wanted, stop, seconds=_POLL) or stop.is_set():
                continue
            try:
                async with listening(self._db, CHANNEL, self._heard) as link:
                    backoff.reset()
                    await self._follow(link, stop)
            except Unavailable as problem:
                log.warning("live events wait for the database", error=problem.detail)
                await first_of(stop, seconds=backoff.next())
            except Exception:
                log.exception("live events failed and begin again")
                await first_of(stop, seconds=backoff.next())
        self._hub.ready.clear()

    def _heard(self, payload: str) -> None:
        if payload:
            self._hub.hinted(payload)
        else:
            self._wake.set()

    async def _follow(self, link: Link, stop: asyncio.Event) -> None:
        if self._position is None:
            high, missing = await self._db.read(store.head, _WINDOW)
            self._position = Position(high, missing, time.monotonic(), self._bounds.gap)
            self._hub.safe = self._position.settle(time.monotonic())
        await self._read(self._position)
        self._hub.ready.set()
        idle = time.monotonic()
        while not stop.is_set():
            self.beat()
            if await first_of(self._wake, link.lost, stop, seconds=_POLL):
                # what woke it is mostly followed by more
                await asyncio.sleep(_GATHER)
            else:
                await link.check()
            if link.lost.is_set():
                raise Unavailable("postgres", "the listening connection to Postgres is lost")
            if self._hub.listeners:
                idle = time.monotonic()
            elif time.monotonic() - idle > _LINGER:
                # nobody has listened for long: the next one begins at what is new then
                self._hub.ready.clear()
                if not self._hub.listeners:
                    self._position = None
                    return
            self._wake.clear()
            await self._read(self._position)

    async def _read(self, position: Position) -> None:
        while True:
            self.queries += 1
            found = await self._db.read(store.unseen, position.high, tuple(position.gaps), _BATCH)
            now = time.monotonic()
            for event in found:
                position.saw(event.id, now)
            self._hub.publish(found, position.settle(now))
            if len(found) < _BATCH:
                return
