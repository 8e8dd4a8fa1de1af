"""One connection for all callers of an event loop: what they ask in one turn of the loop is one write."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

from redis.asyncio import connection as redis_connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from valhalla.guard.stores.valkey.faults import Lost
from valhalla.guard.stores.valkey.replies import MISSING, Replies

_READ: Final = 262_144
_BATCH: Final = 16


class Pipeline:
    """Commands of many tasks on one connection, answered in order. Belongs to one event loop."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._connecting: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._queued: list[bytes] = []
        self._waiting: deque[tuple[asyncio.Future[Any], float, Callable[[Any], object] | None]] = deque()

    async def ask(self, command: bytes, orphan: Callable[[Any], object] | None = None) -> Any:
        """Return the reply to one command; ``orphan`` gets it if the caller was cancelled meanwhile.

        Raises:
            Lost: there is no connection, or it broke.
        """
        while self._writer is None:
            await self._connect()
        # no await between the look and the promise: the reader fails every promise of a connection that ends
        return await self._promise(command, orphan)

    def _promise(self, command: bytes, orphan: Callable[[Any], object] | None) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._queued:
            self._loop.call_soon(self._flush)
        self._queued.append(command)
        self._waiting.append((future, self._loop.time(), orphan))
        if len(self._queued) == _BATCH:
            # the server works on these while the loop goes on: in one lump the two would take turns
            self._flush()
        return future

    def _flush(self) -> None:
        queued, self._queued = self._queued, []
        if self._writer is not None and queued:
            self._writer.write(b"".join(queued))

    async def _connect(self) -> None:
        if self._connecting is None:
            self._connecting = self._loop.create_task(self._open())
        try:
            # a caller that gives up must not end the attempt of the others
            await asyncio.shield(self._connecting)
        except (OSError, RedisError, ValueError) as error:
            raise Lost(error, sent=False) from error

    async def _open(self) -> None:
        try:
            options: dict[str, Any] = cast("Any", redis_connection).parse_url(self._url)
            kind = options.pop("connection_class", redis_connection.Connection)
            settings = {"socket_timeout": self._timeout, "socket_connect_timeout": self._timeout} | options
            connection: Any = kind(**settings | {"protocol": 2, "retry": Retry(NoBackoff(), 0)})
            await connection.connect()
            # from here on only its streams are used; redis-py has opened them and logged in
            self._reading = self._loop.create_task(self._read(connection))
            self._writer = connection._writer
            self._timer = self._loop.call_later(self._timeout / 2, self._watch)
        finally:
            self._connecting = None

    async def _read(self, connection: Any) -> None:
        reader: asyncio.StreamReader = connection._reader
        replies = Replies()
        why: BaseException = ConnectionResetError("the server closed the connection")
        try:
            while data := await reader.read(_READ):
                replies.feed(data)
                while (reply := replies.take()) is not MISSING:
                    future, _, orphan = self._waiting.popleft()
                    if not future.done():
                        future.set_result(reply)
                    elif orphan is not None:
                        orphan(reply)
        except (OSError, ValueError, IndexError) as error:
            why = error
        finally:
            self._end(why)

    def _watch(self) -> None:
        """End a connection that does not answer; one timer for all callers is cheaper than one for each."""
        if self._waiting and self._loop.time() - self._waiting[0][1] > self._timeout:
            self._end(TimeoutError("no reply"))
        else:
            self._timer = self._loop.call_later(self._timeout / 2, self._watch)

    def _end(self, why: BaseException) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.close()
        for part in (self._reading, self._timer):
            if part is not None:
                part.cancel()
        self._queued = []
        waiting, self._waiting = self._waiting, deque()
        for future, _, _ in waiting:
            if not future.done():
                future.set_exception(Lost(why, sent=True))

    def close(self) -> None:
        """End the connection; from any thread, also after its loop."""
        if self._loop.is_closed():
            return
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        end = ConnectionResetError("the store was closed")
        if here or not self._loop.is_running():
            self._end(end)
        else:
            self._loop.call_soon_threadsafe(self._end, end)
