"""The one middleware: correlation id, authentication, body limit, access log, metrics. Pure ASGI, no query."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from valhalla.gate import rules
from valhalla.gate.metrics import HttpMetrics
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid, PayloadTooLarge, Problem, Unauthenticated
from valhalla.kit.http import problem_response, set_principal
from valhalla.kit.log import correlated, get_logger

_log = get_logger("gate")
HEADER: Final = b"x-correlation-id"
AccessLog = Callable[[str, str, int, float, str, str | None], None]


class Gate:
    """Wraps the application. ``authenticate`` turns a key into a principal from a snapshot."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticate: Callable[[str], Principal | None],
        metrics: HttpMetrics,
        log: AccessLog | None,
        max_body: int,
    ) -> None:
        self._app = app
        self._authenticate = authenticate
        self._metrics = metrics
        self._log = log
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; only HTTP is served."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method: str = scope["method"]
        headers = dict(scope["headers"])
        correlation = rules.correlation(headers.get(HEADER))
        started = time.monotonic()
        status = 500
        principal: Principal | None = None
        if method == "HEAD":
            # what GET would answer, without its body (RFC 9110 section 9.3.2)
            scope = {**scope, "method": "GET"}

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (HEADER, correlation.encode())]}
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        with correlated(correlation):
            try:
                principal = self._admit(scope, headers)
                set_principal(scope, principal)
                await self._app(scope, self._limited(receive), send_marked)
            except Problem as problem:
                await problem_response(problem, instance=_instance(scope))(scope, receive, send_marked)
            except Exception:  # noqa: BLE001 - the framework has answered 500 and raises again for the server's log
                _log.exception("unexpected error", path=scope["path"])
            finally:
                elapsed = time.monotonic() - started
                self._metrics.observe(method, status, elapsed)
                if self._log is not None:
                    who = None if principal is None else principal.id
                    self._log(method, scope["path"], status, elapsed, correlation, who)

    def _admit(self, scope: Scope, headers: dict[bytes, bytes]) -> Principal | None:
        """Say who asks, or refuse."""
        key = rules.bearer(headers.get(b"authorization"))
        principal = None if key is None else self._authenticate(key)
        if principal is None and not rules.is_public(scope["path"]):
            raise Unauthenticated(headers={"WWW-Authenticate": 'Bearer realm="valhalla"'})
        if rules.holds_nul(scope["path"], scope["query_string"]):
            raise Invalid("the address holds a NUL character")
        length = rules.declared_length(headers.get(b"content-length"))
        if length is not None and length > self._max_body:
            raise self._too_large()
        return principal

    def _limited(self, receive: Receive) -> Receive:
        """Count the body, whatever its headers say about its length."""
        left = self._max_body

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                # the framework turns any other exception here into a 400
                raise HTTPException(413, self._too_large().detail)
            return message

        return counted

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"the limit is {self._max_body} bytes")


def _instance(scope: Scope) -> str:
    return scope["path"].replace("\x00", "\N{REPLACEMENT CHARACTER}")
