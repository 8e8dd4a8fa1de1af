"""The lock as a server: HTTP on an address that bots are told instead of discord.com."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from valhalla.kernel.problems import Problem
from valhalla.kit.log import get_logger
from valhalla.sandbox.routing.discord.outbound import answers
from valhalla.sandbox.routing.discord.outbound.answers import Reply
from valhalla.sandbox.routing.discord.outbound.lock import Asked, Lock, patiently
from valhalla.sandbox.routing.discord.outbound.upstream import LARGEST

_SECONDS: Final = 40.0
_log = get_logger("sandbox.routing.discord")


async def serve(lock: Lock, host: str, port: int, until: Callable[[int], Awaitable[None]]) -> None:
    """Answer requests until ``until``, which is told the port, returns; those under way are answered.

    Raises:
        OSError: the port cannot be had.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return _sent(await _answer(lock, request))

    runner = web.ServerRunner(web.Server(handle, access_log=None), handle_signals=False, shutdown_timeout=10)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await until(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def _answer(lock: Lock, request: web.BaseRequest) -> Reply:
    path, _, query = request.raw_path.partition("?")
    if (request.content_length or 0) > LARGEST:
        return answers.json(413, {"message": "Request entity too large", "code": 40_005})
    try:
        body = await request.content.read(LARGEST + 1)
        while len(body) <= LARGEST and (more := await request.content.read(LARGEST + 1 - len(body))):
            body += more
    except web.RequestPayloadError:
        return answers.json(400, {"message": "the body broke off", "code": 0})
    if len(body) > LARGEST:
        return answers.json(413, {"message": "Request entity too large", "code": 40_005})
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        return await patiently(lock, Asked(request.method, path, query, headers, body), _SECONDS)
    except Problem as problem:
        # the guard's store or the database: what changes something waits for them
        _log.warning("a call was not let through", code=problem.code, error=problem.detail)
        return answers.away(problem.title)


def _sent(reply: Reply) -> web.Response:
    headers = {name: value for name, value in reply.headers.items() if name.lower() != "content-length"}
    return web.Response(status=reply.status, body=reply.body, headers=headers)
