"""Noticing a restart of Valkey at once: it forgets every user, and the next answer must not promise one that is gone.

A subscription of our own ends with the server. While it lives, nothing is asked: a create costs no round trip for this.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from valhalla.kernel.problems import Unavailable
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff, first_of

_log = get_logger("sandbox.valkey")
_CHANNEL: Final = "valhalla.watch"
# seconds: a restart takes less; and how long a push of ten thousand users may take
_AWAY: Final = 2.0
_PATIENCE: Final = 8.0
_BREATH: Final = 0.02
_FOREVER: Final = 86_400.0


class ValkeyWatch:
    """Knows whether the users that were pushed are still there, as far as one connection can tell."""

    def __init__(self, url: str, *, timeout: float) -> None:
        """``timeout``: seconds to connect."""
        self._url, self._timeout = url, timeout
        self._sure = asyncio.Event()
        self._running = False
        self._asked = asyncio.Event()
        self._failed = 0
        self._away: float | None = None

    @property
    def sure(self) -> bool:
        """Whether every user is known to be there; always true when nobody watches."""
        return not self._running or self._sure.is_set()

    async def ready(self) -> None:
        """Wait until every user is there again after a restart; costs nothing when there was none.

        Raises:
            Unavailable: the server is away, or the users are not all pushed in time.
        """
        if self.sure:
            return
        deadline, failed = time.monotonic() + _PATIENCE, self._failed
        # it may be back since the last attempt: one that begins now decides
        self._asked.set()
        while not self.sure:
            now = time.monotonic()
            tried = self._failed > failed + 1
            if now > deadline or (tried and self._away is not None and now - self._away > _AWAY):
                raise Unavailable("valkey", "valkey cannot be reached, or has just started and gets its users back")
            await first_of(self._sure, seconds=0.05)

    async def run(self, stop: asyncio.Event, restore: Callable[[], Awaitable[None]]) -> None:
        """Until ``stop`` is set: connect, ``restore`` the users, be sure of them until the connection ends."""
        self._running = True
        backoff = Backoff(0.05, 1.0)
        try:
            while not stop.is_set():
                try:
                    async with self._subscribed() as ended:
                        self._away = None
                        await restore()
                        self._sure.set()
                        backoff.reset()
                        await first_of(stop, ended, seconds=_FOREVER)
                except (Unavailable, exceptions.RedisError, OSError) as error:
                    reason = error.detail if isinstance(error, Unavailable) else type(error).__name__
                    _log.info("valkey is waited for", reason=reason)
                except Exception:  # noqa: BLE001 - without it every create would wait in vain
                    _log.exception("the users of valkey could not be pushed and will be again")
                finally:
                    self._sure.clear()
                    self._away = self._away or time.monotonic()
                self._failed += 1
                await first_of(stop, seconds=_BREATH)
                await first_of(stop, self._asked, seconds=backoff.next())
                self._asked.clear()
        finally:
            self._running = False

    @asynccontextmanager
    async def _subscribed(self) -> AsyncGenerator[asyncio.Event]:
        """Connect and subscribe; the event is set when the connection has ended."""
        client: Any = cast("Any", Redis).from_url(
            self._url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=self._timeout,
            socket_keepalive=True,
        )
        ended = asyncio.Event()
        reading: asyncio.Task[None] | None = None
        try:
            async with client.pubsub() as subscription:
                async with asyncio.timeout(self._timeout):
                    await subscription.subscribe(_CHANNEL)
                    await subscription.get_message(timeout=self._timeout)
                reading = asyncio.create_task(_read(subscription, ended))
                try:
                    yield ended
                finally:
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)
        finally:
            await client.aclose(close_connection_pool=True)


async def _read(subscription: Any, ended: asyncio.Event) -> None:
    try:
        while True:
            await subscription.get_message(timeout=None)
    except (exceptions.RedisError, OSError):
        return
    finally:
        ended.set()
