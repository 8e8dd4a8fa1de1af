"""Many small POSTs to few places: HTTP/1.1 on kept connections, at a fraction of a general client's cost.

It follows no redirect, takes no proxy and no cookie, and reads of an answer only its status, headers and beginning.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httptools

from valhalla.kit.outgoing_guard import trust
from valhalla.kit.outgoing_guard.dialing import Resolve, addresses, system_resolve
from valhalla.kit.outgoing_guard.rules import Reach

_IDLE: Final = 15.0
_AGE: Final = 60.0
_KEPT: Final = 64
# after a status that decides, so long may the rest of the answer take
_TAIL: Final = 2.0
_HEADERS: Final = 100
_HEADER_BYTES: Final = 65_536


class BadAnswer(Exception):  # noqa: N818 - it is what the other side sent
    """What came back is no HTTP, or the connection ended before an answer."""


@dataclass(frozen=True, slots=True)
class Posted:
    """An answer: ``excerpt`` is the beginning of its body, ``seconds`` until its status."""

    status: int
    headers: Mapping[str, str]
    excerpt: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, taken apart once."""

    scheme: str
    host: str
    port: int
    path: bytes
    authority: bytes

    @classmethod
    def of(cls, url: str, reach: Reach) -> Target:
        """Read a URL of the narrow form that ``reach`` accepts.

        Raises:
            TargetRefused: it has another form, or names an address that is refused.
        """
        reach.check_url(url)
        scheme, _, rest = url.partition("://")
        cut = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
        authority, path = rest[:cut], rest[cut:]
        host, colon, port = authority.rpartition(":")
        if not colon or "]" in port:
            host, port = authority, "443" if scheme == "https" else "80"
        path = path if path.startswith("/") else f"/{path}"
        return cls(scheme, host, int(port), path.encode("ascii"), authority.encode("ascii"))


class Poster:
    """Posts to what ``reach`` allows; addresses are checked at every connection, and none is kept for long."""

    def __init__(
        self,
        reach: Reach,
        *,
        resolve: Resolve = system_resolve,
        context: Callable[[], ssl.SSLContext] = trust.context,
    ) -> None:
        """``context`` is called at the first TLS connection; ``resolve`` stands in for the system's."""
        self.reach = reach
        self._resolve = resolve
        self._make = context
        self._context: ssl.SSLContext | None = None
        self._idle: dict[tuple[str, str, int], deque[_Connection]] = {}

    async def post(self, target: Target, headers: bytes, body: bytes, *, seconds: float, most: int = 1024) -> Posted:
        """Send one request; ``headers`` are whole lines, each with its CRLF, besides Host and the lengths.

        A status counts as soon as it is there, whatever becomes of the body, of which ``most`` bytes are kept.

        Raises:
            TimeoutError: there was no status within ``seconds``.
            TargetRefused: it may not go there.
            BadAnswer: what came was no answer.
            OSError: there is no way there.
        """
        head = b"POST %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n" % (
            target.path, target.authority, headers, len(body),
        )  # fmt: skip
        began = time.perf_counter()
        async with asyncio.timeout(seconds):
            while True:
                connection = self._kept(target)
                fresh = connection is None
                if connection is None:
                    connection = await self._connect(target)
                try:
                    status = await connection.send(head + body, most)
                except BadAnswer:
                    # the other side may close a kept connection at any moment: the receiver drops what came twice
                    if fresh or connection.has_heard:
                        raise
                    continue
                except BaseException:
                    connection.close()
                    raise
                break
        taken = time.perf_counter() - began
        if not connection.is_done:
            await connection.finish(min(_TAIL, max(0.0, seconds - taken)))
        answer = Posted(status, connection.headers, bytes(connection.body), taken)
        self._give_back(target, connection)
        return answer

    def close(self) -> None:
        """Close every kept connection."""
        for kept in self._idle.values():
            for connection in kept:
                connection.close()
        self._idle.clear()

    def _kept(self, target: Target) -> _Connection | None:
        kept = self._idle.get((target.scheme, target.host, target.port))
        now = time.monotonic()
        while kept:
            connection = kept.pop()
            if connection.is_usable and now - connection.used < _IDLE and now - connection.opened < _AGE:
                return connection
            connection.close()
        return None

    def _give_back(self, target: Target, connection: _Connection) -> None:
        kept = self._idle.setdefault((target.scheme, target.host, target.port), deque())
        if not connection.is_usable or not connection.is_done or len(kept) >= _KEPT:
            connection.close()
            return
        connection.used = time.monotonic()
        kept.append(connection)

    async def _connect(self, target: Target) -> _Connection:
        loop = asyncio.get_running_loop()
        secure: dict[str, Any] = {}
        if target.scheme == "https":
            secure = {"ssl": self._tls(), "server_hostname": target.host.strip("[]")}
        failure: OSError | None = None
        for address in await addresses(self.reach, target.host, target.port, self._resolve):
            try:
                _, connection = await loop.create_connection(_Connection, address, target.port, **secure)
            except OSError as error:
                failure = error
            else:
                return connection
        assert failure is not None
        raise failure

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = self._make()
        return self._context


class _Connection(asyncio.Protocol):
    """One connection with one exchange at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._status: asyncio.Future[int] | None = None
        self._end: asyncio.Event | None = None
        self._most = 0
        self._size = self._count = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.is_done = True
        self.has_heard = False
        self.is_usable = False
        self.opened = self.used = time.monotonic()

    async def send(self, request: bytes, most: int) -> int:
        """Write a request and wait for the answer's status."""
        assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._status = asyncio.get_running_loop().create_future()
        self._most, self._size, self._count = most, 0, 0
        self.headers, self.body = {}, bytearray()
        self.is_done = self.has_heard = False
        self._transport.write(request)
        return await self._status

    async def finish(self, seconds: float) -> None:
        """Wait for the end of the answer, for so long at most."""
        self._end = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await self._end.wait()
        except TimeoutError:
            self.close()
        finally:
            self._end = None

    def close(self) -> None:
        self.is_usable = False
        if self._transport is not None:
            self._transport.abort()

    # what the event loop calls

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.is_usable = True

    def data_received(self, data: bytes) -> None:
        if self.is_done:
            # nobody asked: what comes unbidden must not be taken for the next answer
            self.close()
            return
        self.has_heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"what came back is no HTTP: {str(error)[:100]}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_usable = False
        self._fail("the connection ended before an answer")

    # what the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count += 1
        self._size += len(name) + len(value)
        if self._count > _HEADERS or self._size > _HEADER_BYTES:
            raise ValueError("too many headers")
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        # what is only provisional is followed by the answer
        if status >= 200 and self._status is not None and not self._status.done():
            self._status.set_result(status)

    def on_body(self, data: bytes) -> None:
        room = self._most - len(self.body)
        if room > 0:
            self.body += data[:room]
        if len(data) > room:
            self._finished(usable=False)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            self.headers = {}
            return
        self._finished(usable=self._parser.should_keep_alive())

    def _finished(self, *, usable: bool) -> None:
        self.is_done = True
        if not usable:
            self.close()
        if self._end is not None:
            self._end.set()

    def _fail(self, why: str) -> None:
        if self._status is not None and not self._status.done():
            self._status.set_exception(BadAnswer(why))
        self.is_done = True
        self.close()
        if self._end is not None:
            self._end.set()
