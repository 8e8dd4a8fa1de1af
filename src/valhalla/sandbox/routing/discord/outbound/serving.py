"""The lock as a server: HTTP on an address that bots are told instead of discord.com, and the gateway on the same."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, Protocol

from aiohttp import web

from valhalla.kernel.problems import Problem
from valhalla.kit.log import get_logger
from valhalla.sandbox.routing.discord.outbound import answers
from valhalla.sandbox.routing.discord.outbound.answers import Reply
from valhalla.sandbox.routing.discord.outbound.lock import Asked, Lock, patiently
from valhalla.sandbox.routing.discord.outbound.upstream import LARGEST

_SECONDS: Final = 40.0
_SMALL: Final = 65_536
_LARGE_AT_ONCE: Final = 8
_ONCE: Final = ("Authorization", "Content-Type", "X-Audit-Log-Reason")
_log = get_logger("sandbox.routing.discord")


class Sockets(Protocol):
    """Takes the requests that open a WebSocket."""

    def wants(self, request: web.BaseRequest, /) -> bool:
        """Say whether a request is its own."""
        ...

    async def serve(self, request: web.BaseRequest, /) -> web.StreamResponse:
        """Serve one until it ends."""
        ...

    async def stop(self) -> None:
        """End all of them."""
        ...


async def serve(
    lock: Lock, host: str, port: int, until: Callable[[int], Awaitable[None]], sockets: Sockets | None = None
) -> None:
    """Answer requests until ``until``, which is told the port, returns; those under way are answered.

    Raises:
        OSError: the port cannot be had.
    """

    large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if sockets is not None and sockets.wants(request):
            return await sockets.serve(request)
        return _sent(await _answer(lock, request, large))

    runner = web.ServerRunner(web.Server(handle, access_log=None), handle_signals=False, shutdown_timeout=10)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await until(runner.addresses[0][1])
    finally:
        if sockets is not None:
            await sockets.stop()
        await runner.cleanup()


async def _answer(lock: Lock, request: web.BaseRequest, large: asyncio.Semaphore) -> Reply:
    path, _, query = request.raw_path.partition("?")
    headers = {name.lower(): value for name, value in request.headers.items()}
    asked = Asked(request.method, path, query, headers, b"")
    if any(len(request.headers.getall(name, ())) > 1 for name in _ONCE):
        return answers.json(400, {"message": "a header comes twice", "code": 0})
    if not lock.knows(asked):
        lock.counts["unauthorized"] += 1
        return answers.unauthorized()
    small = request.content_length is not None and request.content_length <= _SMALL
    # many bodies of thirty megabytes at a time would be the end of this process
    turn = contextlib.nullcontext() if small or not request.can_read_body else large
    try:
        async with turn:
            body = await _body(request)
            return await patiently(lock, replace(asked, body=body), _SECONDS)
    except _Unread as error:
        return error.reply
    except Problem as problem:
        # the guard's store or the database: what changes something waits for them
        _log.warning("a call was not let through", code=problem.code, error=problem.detail)
        return answers.away(f"nothing was sent: {problem.title}")


class _Unread(Exception):  # noqa: N818 - what it is
    def __init__(self, status: int, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.reply = answers.json(status, {"message": message, "code": code})


async def _body(request: web.BaseRequest) -> bytes:
    parts: list[bytes] = []
    left = LARGEST + 1 if (request.content_length or 0) <= LARGEST else 0
    try:
        async with asyncio.timeout(_SECONDS):
            while left > 0 and (part := await request.content.read(left)):
                parts.append(part)
                left -= len(part)
    except TimeoutError as error:
        raise _Unread(408, "the body did not come in time") from error
    except web.RequestPayloadError as error:
        raise _Unread(400, "the body broke off") from error
    if left <= 0:
        raise _Unread(413, "Request entity too large", 40_005)
    return b"".join(parts)


def _sent(reply: Reply) -> web.Response:
    headers = {name: value for name, value in reply.headers.items() if name.lower() != "content-length"}
    return web.Response(status=reply.status, body=reply.body, headers=headers)
