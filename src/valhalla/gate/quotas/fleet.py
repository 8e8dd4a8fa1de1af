"""Limits that all processes count together, in Valkey: exactly, for a round trip; or by shares taken ahead, for none.

A share is a twentieth of what a limit hands out at once, and lapses soon if it is not used. Until the first share of a
subject has come, a process lets at most one share's worth pass on credit; so the fleet passes at most the limit and one
share per process more. While Valkey is away each process counts by itself.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from valhalla.guard.governor import Limit
from valhalla.guard.governor.rules import interval_of
from valhalla.kit.log import get_logger

_log = get_logger("limits")
_PREFIX: Final = "valhalla:limit:"
_USAGE: Final = "valhalla:limit-usage"
# seconds after which what a process told is of one that is gone
_STALE: Final = 30.0
_PATIENCE: Final = 0.5
_PAUSE: Final = 1.0
_SHARE: Final = 20
_MOST: Final = 100_000


class Answer(NamedTuple):
    """Whether a request may pass, what is left and when all is back, in seconds; ``None`` in place of it: unknown."""

    allowed: bool
    remaining: int
    reset: float
    wait: float


@dataclass(slots=True)
class Share:
    """What this process may still hand out of one bucket."""

    units: int = 0
    until: float = 0.0
    credit: int = 0
    closed: float = 0.0
    remaining: int = 0
    reset: float = 0.0
    task: asyncio.Task[None] | None = None


class Fleet:
    """The shared count of every fleet rule."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``url`` is the Valkey's, with the credentials of an administrator; connected when first needed."""
        self._url = url
        self._clock = clock
        self._process = secrets.token_hex(8)
        self._redis: Redis | None = None
        self._shares: dict[tuple[str, str], Share] = {}
        self._away = 0.0
        self._source = (files(__package__ or "") / "grant.lua").read_text()

    def take(self, resource: str, subject: str, cost: int, limit: Limit) -> Answer | None:
        """Take from this process's share; never waits. ``None`` while Valkey is away."""
        now = self._clock()
        if now < self._away:
            return None
        share = self._share(resource, subject, now)
        size = max(1, limit.most // _SHARE)
        if now >= share.until:
            share.units = 0
        if share.units >= cost:
            share.units -= cost
            if share.units < size // 2:
                self._refill(resource, subject, share, size, limit)
            return Answer(allowed=True, remaining=share.remaining + share.units, reset=share.reset, wait=0.0)
        self._refill(resource, subject, share, max(size, cost), limit)
        if now < share.closed:
            return Answer(allowed=False, remaining=0, reset=share.reset, wait=share.closed - now)
        if share.credit + cost <= max(size, cost):
            share.credit += cost
            return Answer(allowed=True, remaining=share.remaining, reset=share.reset, wait=0.0)
        # the share is on its way
        return Answer(allowed=False, remaining=0, reset=share.reset, wait=0.05)

    async def take_exactly(self, resource: str, subject: str, cost: int, limit: Limit) -> Answer | None:
        """Take from the shared count itself; ``None`` while Valkey is away."""
        if self._clock() < self._away:
            return None
        granted = await self._grant(resource, subject, cost, cost, limit)
        if granted is None:
            return None
        units, wait, remaining, reset = granted
        return Answer(allowed=units > 0, remaining=remaining, reset=reset, wait=wait)

    def give_back(self, resource: str, subject: str, cost: int, limit: Limit) -> None:
        """Give back what a request took that was refused elsewhere: this process hands it out again for a while."""
        now = self._clock()
        share = self._share(resource, subject, now)
        if now >= share.until:
            share.units, share.until = 0, now + limit.window / 10
        share.units += cost

    async def publish(self, usage: Mapping[str, Any]) -> None:
        """Tell what is used in this process; nobody hears it while Valkey is away."""
        with suppress(RedisError, OSError, TimeoutError):
            redis = self._connected()
            body = json.dumps({"at": time.time(), "usage": usage})
            await redis.hset(_USAGE, self._process, body)
            await redis.expire(_USAGE, int(_STALE) * 10)

    async def published(self) -> list[Mapping[str, Any]]:
        """Return what the other processes have told, and forget those that are gone."""
        found: list[Mapping[str, Any]] = []
        with suppress(RedisError, OSError, TimeoutError):
            redis, now = self._connected(), time.time()
            for process, body in (await redis.hgetall(_USAGE)).items():
                told = _told(body)
                if told is None or now - told["at"] > _STALE:
                    await redis.hdel(_USAGE, process)
                elif process.decode() != self._process:
                    found.append(told["usage"])
        return found

    def _connected(self) -> Any:
        if self._redis is None:
            client: Any = Redis
            self._redis = client.from_url(self._url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE)
        return self._redis

    async def close(self) -> None:
        """Close the connections."""
        tasks = [share.task for share in self._shares.values() if share.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._redis is not None:
            await self._redis.aclose()

    def _share(self, resource: str, subject: str, now: float) -> Share:
        share = self._shares.get((resource, subject))
        if share is None:
            if len(self._shares) >= _MOST:
                # what lapses is counted as used by Valkey: never more than the limit
                live = {
                    key: one for key, one in self._shares.items() if one.task or now < one.until or now < one.closed
                }
                self._shares = live if len(live) < _MOST else {k: one for k, one in live.items() if one.task}
            share = self._shares[resource, subject] = Share()
        return share

    def _refill(self, resource: str, subject: str, share: Share, size: int, limit: Limit) -> None:
        if share.task is None and self._clock() >= share.closed:
            share.task = asyncio.ensure_future(self._fetch(resource, subject, share, size, limit))

    async def _fetch(self, resource: str, subject: str, share: Share, size: int, limit: Limit) -> None:
        try:
            granted = await self._grant(resource, subject, size + share.credit, 1, limit)
            if granted is None:
                return
            units, wait, share.remaining, share.reset = granted
            paid = min(units, share.credit)
            share.credit -= paid
            now = self._clock()
            if units > paid:
                kept = share.units if now < share.until else 0
                share.units, share.until = kept + units - paid, now + limit.window / 10
            elif units == 0:
                share.closed = now + wait
        finally:
            share.task = None

    async def _grant(
        self, resource: str, subject: str, want: int, least: int, limit: Limit
    ) -> tuple[int, float, int, float] | None:
        try:
            redis = self._connected()
            script = redis.register_script(self._source)
            key = f"{_PREFIX}{resource}:{subject}"
            units, wait, free, reset = await script([key], [interval_of(limit), limit.most, want, least])
        except (RedisError, OSError, TimeoutError) as error:
            if self._clock() >= self._away:
                _log.warning("limits of the fleet are counted by each process", error=type(error).__name__)
            self._away = self._clock() + _PAUSE
            return None
        return int(units), wait / 1e6, int(free), reset / 1e6


def _told(body: bytes) -> dict[str, Any] | None:
    try:
        found: Any = json.loads(body)
        return {"at": float(found["at"]), "usage": dict(found["usage"])}
    except (ValueError, KeyError, TypeError):
        # of a newer release
        return None
