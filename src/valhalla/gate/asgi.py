"""The one middleware, pure ASGI: what every request passes, from snapshots, without a query.

The order: context, preflight, decoys, shield, blocklist, authentication, form, policies, limits, the application; then,
whatever happened, metrics, span and log line. ``Exchange.judge`` and ``rules.decide`` have the middle of it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from valhalla.gate import rules, websocket
from valhalla.gate.body import Body
from valhalla.gate.exchange import CORRELATION, HUNG_UP, Exchange
from valhalla.gate.hooks import Bounds, Hooks
from valhalla.kernel.problems import Problem
from valhalla.kit.correlation import ACTING, CURRENT
from valhalla.kit.http import problem_parts
from valhalla.kit.spans import LOCAL, Local, keep_in
from valhalla.kit.trace import CURRENT as SPAN
from valhalla.kit.trace import Trace, new_trace, parse

_CLOSE: Final = (b"connection", b"close")
_STREAM: Final = b"text/event-stream"


class Gate:
    """Wraps an application. It never raises, and no answer leaves it without a correlation id."""

    def __init__(self, app: ASGIApp, hooks: Hooks, bounds: Bounds | None = None) -> None:
        self._app = app
        self.hooks = hooks
        self._bounds = bounds or Bounds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            if self.hooks.lifespan is not None:
                await self.hooks.lifespan(self._app, scope, receive, send)
            else:
                await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope.get("headers", ()))
        trace = self._trace(headers.get(b"traceparent"))
        correlation = rules.correlation(headers.get(CORRELATION), trace.span_id)
        # set by hand, and only where it differs: context managers and needless sets cost more than the whole decision
        outer = CURRENT.get(), SPAN.get(), ACTING.get(), LOCAL.get()
        CURRENT.set(correlation)
        SPAN.set(trace)
        if outer[2] is not None:
            ACTING.set(None)
        if outer[3] is not None or self.hooks.spans is not None:
            keep_in(None if self.hooks.spans is None else Local())
        exchange = Exchange(scope, headers, correlation, trace, self.hooks, self._bounds)
        try:
            if kind == "http":
                await self._http(exchange, receive, send)
            else:
                await websocket.serve(self._app, exchange, receive, send)
        finally:
            exchange.end()
            CURRENT.set(outer[0])
            SPAN.set(outer[1])
            if ACTING.get() is not outer[2]:
                ACTING.set(outer[2])
            if LOCAL.get() is not outer[3]:
                LOCAL.set(outer[3])

    def _trace(self, header: bytes | None) -> Trace:
        if header is not None and (caller := parse(header)) is not None:
            return caller.child()
        share = self._bounds.sample
        return new_trace(sampled=share >= 1.0 or random.random() < share)  # noqa: S311 - spreads, guards nothing

    async def _http(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        scope, bounds = exchange.scope, self._bounds
        head = scope["method"] == "HEAD"
        if head:
            # what GET would answer, without its body (RFC 9110 section 9.3.2)
            scope = exchange.scope = _as_get(scope)
        body: Body | None = None
        if rules.may_have_body(exchange.method, exchange.headers, scope.get("http_version", "1.1")):
            body = Body(receive, bounds.max_body, bounds.body_timeout)

        async def marked(message: Message) -> None:
            kind = message["type"]
            if body is not None and body.refusal is not None and not exchange.status:
                # what the application makes of a body that broke off is not what happened
                return
            if kind == "http.response.start":
                exchange.status = message["status"]
                given = message.get("headers", ())
                for name, value in given:
                    if name == CORRELATION:
                        given = [header for header in given if header[0] != CORRELATION]
                    elif name == b"content-type" and value.startswith(_STREAM):
                        exchange.open()
                message = {**message, "headers": [*given, *exchange.marks]}
            elif head and kind == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        problem: Problem | None = None
        try:
            if (other := exchange.diverted()) is not None:
                await _answer(marked, *other)
                return
            problem = exchange.judge()
            if self.hooks.limits is not None:
                problem = await exchange.charge(problem)
            if problem is None:
                await self._app(scope, receive if body is None else body.receive, marked)
        except Problem as raised:
            problem = raised
        except ClientDisconnect:
            exchange.status = exchange.status or HUNG_UP
        except Exception as error:  # noqa: BLE001 - the last one who can answer
            if body is None or body.refusal is None:
                exchange.unexpected(error)
        if exchange.status:
            return
        if body is not None:
            problem, body = body.refusal or problem, None
        status, headers, content = problem_parts(problem or Problem(), instance=exchange.path)
        if status == 408 and scope.get("http_version", "1.1").startswith("1"):
            # nobody waits for the rest. After a 413 the server reads on, or the client would lose the answer
            headers.append(_CLOSE)
        # a server whose caller has gone may refuse to send
        with contextlib.suppress(Exception):
            await _answer(marked, status, headers, content)


def _as_get(scope: Scope) -> Scope:
    return {**scope, "method": "GET", "valhalla.head": True}


async def _answer(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], content: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": content})
