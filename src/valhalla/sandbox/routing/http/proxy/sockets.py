"""WebSockets through the proxy: messages both ways, until either side closes or the sandbox ends."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp
from aiohttp import WSMsgType, web
from multidict import CIMultiDict
from yarl import URL

from valhalla.sandbox.routing.http.proxy.contracts import Target
from valhalla.sandbox.routing.http.proxy.headers import Headers
from valhalla.sandbox.routing.http.proxy.relaying import unreachable

_MOST: Final = 16 * 2**20
_HANDSHAKE: Final = "sec-websocket-"
_GONE_AWAY: Final = 1001


def is_websocket(request: web.BaseRequest) -> bool:
    """Say whether a request asks for a WebSocket."""
    upgrade = request.headers.get("Upgrade", "").strip().lower()
    return request.method == "GET" and upgrade == "websocket" and "Sec-WebSocket-Key" in request.headers


async def relay_socket(
    request: web.BaseRequest,
    client: aiohttp.ClientSession,
    target: Target,
    path: str,
    headers: Headers,
    marks: Headers,
    ended: asyncio.Event,
) -> web.StreamResponse:
    """Connect both sides; returns when one has closed, or the sandbox has ended.

    Raises:
        Unreachable: nobody answers there.
    """
    offered = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    sent = CIMultiDict((name, value) for name, value in headers if not name.lower().startswith(_HANDSHAKE))
    try:
        theirs = await client.ws_connect(
            URL(target.root + path, encoded=True),
            headers=sent,
            protocols=[each for each in offered if each],
            autoping=False,
            autoclose=False,
            max_msg_size=_MOST,
        )
    except aiohttp.WSServerHandshakeError as error:
        # it answers, and wants no WebSocket
        return web.Response(status=error.status if error.status >= 400 else 502, headers=CIMultiDict(marks))
    except (aiohttp.ClientError, OSError) as error:
        raise unreachable(error) from error
    ours = web.WebSocketResponse(
        protocols=[theirs.protocol] if theirs.protocol else (),
        autoping=False,
        autoclose=False,
        compress=False,
        max_msg_size=_MOST,
    )
    ours.headers.extend(marks)
    await ours.prepare(request)
    pumps = [asyncio.ensure_future(_pump(ours, theirs)), asyncio.ensure_future(_pump(theirs, ours))]
    waiting = asyncio.ensure_future(ended.wait())
    try:
        await asyncio.wait([*pumps, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (*pumps, waiting):
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        await asyncio.gather(theirs.close(code=_GONE_AWAY), ours.close(code=_GONE_AWAY), return_exceptions=True)
    return ours


async def _pump(source: Any, sink: Any) -> None:
    while True:
        message = await source.receive()
        match message.type:
            case WSMsgType.TEXT:
                await sink.send_str(message.data)
            case WSMsgType.BINARY:
                await sink.send_bytes(message.data)
            case WSMsgType.PING:
                await sink.ping(message.data)
            case WSMsgType.PONG:
                await sink.pong(message.data)
            case WSMsgType.CLOSE:
                await sink.close(code=message.data or 1000, message=(message.extra or "").encode())
                return
            case _:
                return
