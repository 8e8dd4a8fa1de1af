"""One uvicorn server on an own port of loopback, inside the loop of whoever tests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import uvicorn

App = Callable[[Any, Any, Any], Awaitable[None]]


class Listening:
    """A server that runs until ``stop``; ``tls`` is what it speaks TLS with."""

    def __init__(self, app: App, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="websockets-sansio",
            # what it decompresses and inspects would cost more than the events
            ws_per_message_deflate=False,
            ws_ping_interval=None,
            ws_max_size=16_384,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        config.load()
        if tls is not None:
            config.ssl = tls
        self._server = _Quiet(config)
        self._socket = socket.create_server(("127.0.0.1", port), backlog=2048)
        # connections inherit it; asyncio sets it only on sockets that name their protocol, and answers wait 40 ms then
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.001)

    def cut(self, peer: Any) -> None:
        """Break the connection of this peer off, without a word of any protocol."""
        for protocol in list(self._server.server_state.connections):
            transport: Any = protocol.transport  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
            if transport.get_extra_info("peername") == peer:
                transport.abort()

    async def stop(self) -> None:
        """Break off what is open and end."""
        self._server.should_exit = True
        for protocol in list(self._server.server_state.connections):
            protocol.transport.abort()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        if self._task is not None:
            await self._task


class _Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        # signals are those of the program around
        yield
