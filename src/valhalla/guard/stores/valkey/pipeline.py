"""One connection for all callers of an event loop: what they ask in one turn of the loop is one run of the script."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

from redis.asyncio import connection as redis_connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from valhalla.guard.stores.valkey.faults import Lost
from valhalla.guard.stores.valkey.replies import MISSING, Replies, ReplyError, forgotten
from valhalla.guard.stores.valkey.scripts import Script

_READ: Final = 262_144
_BATCH: Final = 16


Orphan = Callable[[Any], object]
"""Gets the reply, or ``Lost``, that a caller who was cancelled did not wait for."""


class Asked:
    """One caller's request."""

    __slots__ = ("future", "mark", "orphan", "request")

    def __init__(self, future: asyncio.Future[Any], request: bytes, mark: bytes, orphan: Orphan | None) -> None:
        self.future = future
        self.request = request
        self.mark = mark
        self.orphan = orphan

    def answer(self, reply: Any) -> None:
        """Hand the reply over."""
        if self.future.done():
            if self.orphan is not None:
                self.orphan(reply)
        elif isinstance(reply, Lost):
            self.future.set_exception(reply)
        else:
            self.future.set_result(reply)


class Sent:
    """What the server was asked with one command: ``shared`` if it answers each of the callers."""

    __slots__ = ("at", "callers", "shared")

    def __init__(self, at: float, callers: list[Asked], *, shared: bool) -> None:
        self.at = at
        self.callers = callers
        self.shared = shared


class Pipeline:
    """Requests of many tasks on one connection, answered in order. Belongs to one event loop."""

    def __init__(self, url: str, timeout: float, script: Script) -> None:
        """``script`` answers the requests of ``call``."""
        self._url = url
        self._timeout = timeout
        self._script = script
        self._loop = asyncio.get_running_loop()
        self._connecting: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._queued: list[Asked] = []
        self._sent: deque[Sent] = deque()

    @property
    def is_open(self) -> bool:
        """Whether a request is promised to be sent at once."""
        return self._writer is not None

    async def open(self) -> None:
        """Connect if there is no connection.

        Raises:
            Lost: that failed.
        """
        while self._writer is None:
            await self._connect()

    def call(self, request: bytes, mark: bytes, orphan: Orphan | None = None) -> asyncio.Future[Any]:
        """Return the promise of the script's answer to a request; only for a connection that is open.

        It ends with ``Lost`` if the connection breaks. ``orphan`` gets the answer if the promise was cancelled.
        """
        # no await between the look at the connection and the promise: the reader fails every promise of one that ends
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._queued:
            self._loop.call_soon(self._flush)
        self._queued.append(Asked(future, request, mark, orphan))
        if len(self._queued) == _BATCH:
            # the server works on these while the loop goes on: in one lump the two would take turns
            self._flush()
        return future

    def ask(self, command: bytes) -> asyncio.Future[Any]:
        """Return the promise of the reply to any other command; only for a connection that is open."""
        assert self._writer is not None
        future: asyncio.Future[Any] = self._loop.create_future()
        self._writer.write(command)
        self._sent.append(Sent(self._loop.time(), [Asked(future, b"", b"", None)], shared=False))
        return future

    def _flush(self) -> None:
        queued, self._queued = self._queued, []
        if queued:
            self._send(queued, self._script.by_digest)

    def _send(self, callers: list[Asked], command: Callable[[list[bytes]], bytes]) -> None:
        if self._writer is not None:
            self._writer.write(command([word for one in callers for word in (one.request, one.mark)]))
            self._sent.append(Sent(self._loop.time(), callers, shared=True))

    def _answer(self, sent: Sent, reply: Any) -> None:
        if not sent.shared:
            sent.callers[0].answer(reply)
        elif forgotten(reply):
            self._send(sent.callers, self._script.by_text)
        else:
            replies = [reply] * len(sent.callers) if isinstance(reply, ReplyError) else reply
            for one, own in zip(sent.callers, replies, strict=True):
                one.answer(own)

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
                    self._answer(self._sent.popleft(), reply)
        except (OSError, ValueError, IndexError, TypeError) as error:
            why = error
        finally:
            self._end(why)

    def _watch(self) -> None:
        """End a connection that does not answer; one timer for all callers is cheaper than one for each."""
        if self._sent and self._loop.time() - self._sent[0].at > self._timeout:
            self._end(TimeoutError("no reply"))
        else:
            self._timer = self._loop.call_later(self._timeout / 2, self._watch)

    def _end(self, why: BaseException, *, closed: bool = False) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.close()
        for part in (self._reading, self._timer):
            if part is not None:
                part.cancel()
        asked = [one for sent in self._sent for one in sent.callers] + self._queued
        self._queued = []
        self._sent.clear()
        for one in asked:
            if closed:
                # nobody sends anything once more
                one.orphan = None
            one.answer(Lost(why, sent=True))

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
            self._end(end, closed=True)
        else:
            self._loop.call_soon_threadsafe(partial(self._end, end, closed=True))
