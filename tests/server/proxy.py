"""A way to a server that a test can cut, or let go silent."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit


class Proxy:
    """Forwards one loopback port to another while it is open."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self.port = 0

    async def open(self) -> None:
        """Accept connections, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Refuse connections and end those that live, as a server does that stops."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._writers):
            writer.transport.abort()

    def freeze(self) -> None:
        """Pass nothing on and close nothing, as a server does that hangs."""
        self._flows.clear()

    def thaw(self) -> None:
        """Pass on what waits."""
        self._flows.set()

    def url(self, url: str) -> str:
        """Return the URL with this way's port."""
        return url.replace(f":{self._target[1]}", f":{self.port}")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, here = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, here}
        try:
            await asyncio.gather(self._pump(reader, here), self._pump(there, writer))
        finally:
            for each in (writer, here):
                self._writers.discard(each)
                each.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                await self._flows.wait()
                sink.write(data)
                await sink.drain()
        sink.transport.abort()
