"""What each process counted, told to the others: in batches through a stream of Valkey, beside every request.

The stream is short and of the last hour: who starts reads it from there, so does who was cut off. Without Valkey each
process counts by itself, as it does of what did not get through.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from valhalla.features.security.policies.counting import HOUR, Counters
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff, first_of

_log = get_logger("policies")
_KEY: Final = "valhalla:counts:"
_PAUSE: Final = 0.2
_IDLE: Final = 5.0
_BLOCK: Final = 2_000
_LENGTH: Final = 10_000
_PAGE: Final = 500
_AT_ONCE: Final = 1_000


class Sharing:
    """Sends what ``counters`` has not told yet, and adds what others tell."""

    def __init__(self, counters: Counters, *, clock: Callable[[], float] = time.time) -> None:
        """``clock`` is the wall's, in seconds."""
        self._counters = counters
        self._clock = clock
        self._process = secrets.token_hex(8)
        self._url: str | None = None
        self._key = ""
        self._seen = ""
        self.beat: Callable[[], None] = lambda: None
        """Called at every turn."""
        self.sent = self.heard = 0
        self.error: str | None = None

    def through(self, url: str, cell: str) -> None:
        """Share through a Valkey (an administrator's URL) with the processes of one installation; before the start."""
        self._url, self._key = url, f"{_KEY}{cell}"
        self._counters.collect = True

    async def run(self, stop: asyncio.Event) -> None:
        """Share until told to stop."""
        if self._url is None:
            while not stop.is_set():
                self.beat()
                await first_of(stop, seconds=_IDLE)
            return
        made: Any = Redis
        # with the older protocol streams come as pairs, whatever the client's default is
        options = {"socket_connect_timeout": 2.0, "socket_timeout": _BLOCK / 1000 + 3, "decode_responses": True}
        async with made.from_url(self._url, protocol=2, **options) as redis:
            await asyncio.gather(self._keep(stop, redis, self._send), self._keep(stop, redis, self._hear))

    async def _keep(self, stop: asyncio.Event, redis: Any, turn: Callable[..., Any]) -> None:
        backoff = Backoff(0.5, 10.0)
        while not stop.is_set():
            self.beat()
            try:
                await turn(stop, redis)
                backoff.reset()
                self.error = None
            except (RedisError, OSError, TimeoutError) as error:
                if self.error is None:
                    _log.warning("what is counted is not shared; each process counts by itself", error=str(error)[:200])
                self.error = str(error)[:200] or type(error).__name__
                await first_of(stop, seconds=backoff.next())

    async def _send(self, stop: asyncio.Event, redis: Any) -> None:
        await first_of(self._counters.waiting, stop, seconds=_IDLE)
        while batch := self._counters.take(_AT_ONCE):
            body = {"p": self._process, "c": json.dumps(batch, separators=(",", ":"))}
            await redis.xadd(self._key, body, maxlen=_LENGTH, approximate=True)
            await redis.expire(self._key, int(HOUR) + 60)
            self.sent += sum(sum(names.values()) for names in batch.values())
        await first_of(stop, seconds=_PAUSE)

    async def _hear(self, stop: asyncio.Event, redis: Any) -> None:
        if not self._seen:
            self._seen = f"{int((self._clock() - HOUR) * 1000)}-0"
        found: Any = await redis.xread({self._key: self._seen}, count=_PAGE, block=_BLOCK)
        for _, entries in found or ():
            for id_, body in entries:
                self._seen = str(id_)
                if body.get("p") != self._process:
                    self._add(self._seen, body.get("c", ""))

    def _add(self, id_: str, text: str) -> None:
        age = min(max(0.0, self._clock() - int(id_.partition("-")[0]) / 1000), HOUR)
        try:
            batch: dict[str, dict[str, int]] = json.loads(text)
            for subject, names in batch.items():
                for name, count in names.items():
                    self._counters.heard(str(subject), str(name), int(count), age)
                    self.heard += int(count)
        except (ValueError, AttributeError, TypeError):
            # of a newer release
            return
