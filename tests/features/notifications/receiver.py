"""A receiver of webhooks as the internet has them: it notes what comes and answers as it is told."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httptools

Answer = bytes | Callable[["Got"], bytes] | None
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def payload(self) -> Any:
        return json.loads(self.body)


def status(code: int, *headers: str, body: bytes = b"") -> bytes:
    """Return a whole answer."""
    lines = "".join(f"{each}\r\n" for each in headers)
    return f"HTTP/1.1 {code} Told\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Receiver:
    """Answers ``answers`` one after the other, then ``usual``; None is no answer at all."""

    port: int = 0
    got: list[Got] = field(default_factory=list[Got])
    answers: list[Answer] = field(default_factory=list[Answer])
    usual: Answer = OK
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def wait(self, count: int, seconds: float = 20.0) -> list[Got]:
        """Wait until so many requests have come."""
        async with asyncio.timeout(seconds):
            while len(self.got) < count:
                self.news.clear()
                await self.news.wait()
        return self.got

    def note(self, got: Got) -> bytes | None:
        self.got.append(got)
        self.news.set()
        answer = self.answers.pop(0) if self.answers else self.usual
        return answer(got) if callable(answer) else answer


class _Protocol(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._parser: Any = None
        self._url, self._headers, self._body = b"", dict[str, str](), b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url, self._headers, self._body = url, {}, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        answer = self._receiver.note(Got(self._url.decode(), self._headers, self._body))
        if answer is not None:
            self._transport.write(answer)


@asynccontextmanager
async def receiving(secure: ssl.SSLContext | None = None) -> AsyncGenerator[Receiver]:
    """Listen on a free port of this machine, over TLS if told so."""
    receiver = Receiver()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Protocol(receiver), "127.0.0.1", 0, ssl=secure)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
