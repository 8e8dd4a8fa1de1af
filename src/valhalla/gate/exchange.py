"""One request on its way through the gate: what is known of it, and what is told when it has ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from time import perf_counter
from typing import Any, Final

from starlette.types import Scope

from valhalla.gate import rules
from valhalla.gate.contracts import Asking, Ended, Header, Taken
from valhalla.gate.hooks import Bounds, Hooks
from valhalla.gate.switchboard import LEAF, routed_path
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem
from valhalla.kit.correlation import act_as
from valhalla.kit.http import set_principal
from valhalla.kit.log import get_logger
from valhalla.kit.spans import local
from valhalla.kit.trace import Trace, render
from valhalla.kit.waiting import take_waited

_log = get_logger("gate")
CORRELATION: Final = b"x-correlation-id"
_TRACEPARENT: Final = b"traceparent"
_READING: Final = frozenset({"GET", "HEAD", "WEBSOCKET"})
HUNG_UP: Final = 499
"""What the log says of a caller that went away before the answer (the status that proxies use for it)."""


class Exchange:
    """``method`` is GET for HEAD and for the opening of a WebSocket, ``marks`` are the headers of every answer."""

    __slots__ = (
        "_bounds",
        "_hooks",
        "_label",
        "_opened",
        "_route",
        "_started",
        "_trace",
        "address",
        "correlation",
        "headers",
        "marks",
        "method",
        "path",
        "principal",
        "scope",
        "status",
    )

    def __init__(
        self, scope: Scope, headers: dict[bytes, bytes], correlation: str, trace: Trace, hooks: Hooks, bounds: Bounds
    ) -> None:
        self._started = perf_counter()
        self._hooks = hooks
        self._bounds = bounds
        self._trace = trace
        self.scope = scope
        self.headers = headers
        self.correlation = correlation
        label: str = scope.get("method", "WEBSOCKET")
        self._label = label
        self.method = "GET" if label in _READING else label
        self.path: str = scope["path"]
        peer = scope.get("client")
        self.address: str | None = peer[0] if peer else None
        self.principal: Principal | None = None
        self.status = 0
        self._opened: float | None = None
        self.marks: list[Header] = [(CORRELATION, correlation.encode()), (_TRACEPARENT, render(trace).encode())]
        self._route: str | None = None

    def judge(self) -> Problem | None:
        """Find out who asks, and return why the application is not asked, if so; the limits have not been asked yet.

        Raises:
            Exception: a hook is broken; nobody passes then.
        """
        hooks, scope, headers = self._hooks, self.scope, self.headers
        trusted = self._bounds.trusted
        proxied = bool(trusted) and rules.is_proxied(self.address, trusted)
        if proxied:
            self.address = rules.client_address(self.address, headers, trusted)
        if hooks.routes is not None:
            path = routed_path(scope)
            leaf = scope[LEAF] = hooks.routes.find(path)
            self._route = leaf.template(self.method, path)
        if hooks.cors is not None:
            self.marks += hooks.cors.headers(headers.get(b"origin"))
        if hooks.shield is not None:
            self.marks += hooks.shield.notices
        refused: Problem | None = None
        if hooks.authenticate is not None and (key := rules.key_in(headers)) is not None:
            try:
                self.principal = hooks.authenticate(key, self.address)
                act_as(None if self.principal is None else self.principal.id)
            except Problem as problem:
                refused = problem
        set_principal(scope, self.principal)
        problem = rules.decide(
            self.method,
            self.path,
            scope.get("query_string", b""),
            headers,
            self.address,
            self.principal,
            hooks.shield,
            hooks.blocklist,
            hooks.is_public,
            self._bounds.max_body,
            proxied=proxied,
        )
        unknown = problem is not None and problem.status == 401
        if unknown and refused is not None:
            problem = refused
        if hooks.policies is not None and (problem is None or unknown):
            query: bytes = scope.get("query_string", b"")
            objection = hooks.policies.judge(
                self.method, self.path, self._route or "", query, headers, self.address, self.principal
            )
            return objection or problem
        return problem

    async def charge(self, problem: Problem | None) -> Problem | None:
        """Charge the limits; return why the application is not asked, if so.

        A failed authentication is charged too: keys cannot be guessed at any speed. Who is refused for something else
        takes nothing.
        """
        limits = self._hooks.limits
        if limits is None or (problem is not None and problem.status != 401):
            return problem
        taken = limits.take(
            Asking(self.method, self.path, self._route or "", self.headers, self.address, self.principal)
        )
        if not isinstance(taken, Taken):
            taken = await taken
        self.marks += rules.quota_headers(taken.quotas)
        return taken.refusal or problem

    def diverted(self) -> tuple[int, Sequence[Header], bytes] | None:
        """Return what is answered without asking anybody: to a preflight, and by a decoy."""
        hooks, headers = self._hooks, self.headers
        if (cors := hooks.cors) is not None and (allowed := cors.preflight(self.method, headers)) is not None:
            self.marks += cors.headers(headers[b"origin"])
            return 204, allowed, b""
        if hooks.decoys is None:
            return None
        found = hooks.decoys.find(self.path, self.scope.get("query_string", b""))
        if found is None:
            return None
        address = rules.client_address(self.address, headers, self._bounds.trusted)
        # who is blocked is told so, and touches nothing any more
        if hooks.blocklist is not None and hooks.blocklist.refusal(self.method, self.path, address, None) is not None:
            return None
        return hooks.decoys.touched(found, self.method, self.path, headers, address)

    def unexpected(self, error: BaseException) -> None:
        """Tell the log and the operator of an error that the application did not handle."""
        _log.exception("unexpected error", path=self.path)
        if self._hooks.failed is not None:
            try:
                self._hooks.failed(error, self._ended(500))
            except Exception:  # noqa: BLE001 - the answer matters more
                _log.exception("a hook of the gate failed", path=self.path)

    def end(self) -> None:
        """Count the request, keep its span if it is worth keeping, and write its line."""
        try:
            self._tell(perf_counter() - self._started, self.status or HUNG_UP)
        except Exception:  # noqa: BLE001 - the answer has been given
            _log.exception("a hook of the gate failed", path=self.path)

    def open(self) -> None:
        """Note that what follows ends when somebody leaves: a stream or a WebSocket has been answered by now."""
        self._opened = perf_counter() - self._started
        if self._hooks.metrics is not None:
            self._hooks.metrics.opened(self._label, self.route)

    def _tell(self, seconds: float, status: int) -> None:
        hooks = self._hooks
        # how long somebody follows, or wanted to wait for news, says nothing of how quick we are
        waited = take_waited()
        taken = self._opened if self._opened is not None else seconds - waited
        if hooks.metrics is not None:
            hooks.metrics.observe(self._label, self.route, status, taken)
            if self._opened is not None:
                hooks.metrics.closed(self._label, self.route, seconds)
        if hooks.spans is not None and (
            self._trace.sampled
            or taken >= self._bounds.slow
            or status >= 500
            or ((inside := local()) is not None and inside.failed)
        ):
            hooks.spans(self._ended(status))
        if hooks.policies is not None and status >= 400:
            has_key = rules.key_in(self.headers) is not None
            is_known = self.principal is not None
            hooks.policies.answered(self.address, self.route, status, has_key=has_key, is_known=is_known)
        if hooks.log is not None:
            hooks.log(
                self._label,
                self.path,
                status,
                seconds,
                self.correlation,
                None if self.principal is None else self.principal.id,
                trace_id=self._trace.trace_id,
                address=self.address,
            )

    @property
    def route(self) -> str:
        """The template of the route that answers or answered; empty for a path that no route has."""
        return self._route if self._route is not None else template_in(self.scope)

    def _ended(self, status: int) -> Ended:
        trace = self._trace
        seconds = perf_counter() - self._started
        return Ended(
            f"{self._label[:20]} {self.route}".rstrip(),
            trace.trace_id,
            trace.span_id,
            trace.parent_id,
            time.time() - seconds,
            seconds,
            status,
            self.correlation,
            None if self.principal is None else self.principal.id,
            trace.sampled,
            () if (inside := local()) is None else tuple(inside.spans),
        )


def template_in(scope: Scope) -> str:
    """Return the template of the route that a framework chose; empty if it chose none or does not tell."""
    route: Any = scope.get("route")
    if route is None:
        return ""
    # a route of an included router knows its whole path in this context alone
    fastapi: dict[str, Any] = scope.get("fastapi") or {}
    context: Any = fastapi.get("effective_route_context")
    template = getattr(context, "path", None) or getattr(route, "path", "")
    return template if isinstance(template, str) else ""
