"""WebSockets pass the same gate: context and authentication, before the application hears of them."""

from __future__ import annotations

import contextlib
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Send

from valhalla.gate.exchange import HUNG_UP, Exchange
from valhalla.kernel.problems import Problem
from valhalla.kit.http import problem_parts

_ANSWER: Final = "websocket.http.response"
_POLICY: Final = 1008
_BROKEN: Final = 1011


async def serve(app: ASGIApp, exchange: Exchange, receive: Receive, send: Send) -> None:
    """Let a connection through or refuse it. Never raises."""

    async def marked(message: Message) -> None:
        kind = message["type"]
        if kind in ("websocket.accept", f"{_ANSWER}.start"):
            exchange.status = 101 if kind == "websocket.accept" else message["status"]
            if kind == "websocket.accept":
                exchange.open()
            message = {**message, "headers": [*message.get("headers", ()), *exchange.marks]}
        elif kind == "websocket.close" and not exchange.status:
            exchange.status = 403
        await send(message)

    problem: Problem | None = None
    try:
        problem = await exchange.charge(exchange.judge())
        if problem is None:
            await app(exchange.scope, receive, marked)
            exchange.status = exchange.status or HUNG_UP
            return
    except Problem as raised:
        problem = raised
    except Exception as error:  # noqa: BLE001 - the last one who can answer
        exchange.unexpected(error)
        problem = Problem()
    # a server whose caller has gone may refuse to send
    with contextlib.suppress(Exception):
        if exchange.status:
            await send({"type": "websocket.close", "code": _BROKEN})
        elif _ANSWER in (exchange.scope.get("extensions") or {}):
            await _deny(problem, exchange.path, receive, marked)
        else:
            await marked({"type": "websocket.close", "code": _POLICY, "reason": problem.title[:100]})


async def _deny(problem: Problem, path: str, receive: Receive, send: Send) -> None:
    """Answer the opening request with a problem, where the server can (ASGI's denial response)."""
    status, headers, content = problem_parts(problem, instance=path)
    await receive()
    await send({"type": f"{_ANSWER}.start", "status": status, "headers": headers})
    await send({"type": f"{_ANSWER}.body", "body": content})
