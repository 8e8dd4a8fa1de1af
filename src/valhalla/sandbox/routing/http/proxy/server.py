"""The proxy: each request to the sandbox that it belongs to, or to production."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from valhalla.kernel.problems import Problem
from valhalla.kit.histogram import Histogram
from valhalla.kit.http import problem_parts
from valhalla.kit.log import get_logger
from valhalla.kit.outgoing_guard.rules import Network
from valhalla.sandbox.routing.http import errors
from valhalla.sandbox.routing.http.proxy import headers as passing
from valhalla.sandbox.routing.http.proxy.connecting import Patience, session
from valhalla.sandbox.routing.http.proxy.contracts import HEALTH, ROUTED, Choice, Known, Target
from valhalla.sandbox.routing.http.proxy.headers import Headers
from valhalla.sandbox.routing.http.proxy.relaying import Unreachable, relay
from valhalla.sandbox.routing.http.proxy.selecting import Selector
from valhalla.sandbox.routing.http.proxy.sockets import is_websocket, relay_socket
from valhalla.sandbox.routing.http.upstreams.rules import Allowed
from valhalla.sandbox.routing.ingress import Ingress

_log = get_logger("sandbox.routing.proxy")
# how long a request waits for routes that are being moved
_SETTLING: Final = 2.0
_LOOK: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What the proxy is told once: production, its own name in ``Via``, whose word it takes, bounds."""

    production: Target
    via: str
    trusted: tuple[Network, ...] = ()
    max_body: int = 0
    patience: Patience


class Proxy:
    """Answers requests; ``known`` and ``ingress`` say where they go at each moment."""

    def __init__(
        self, frame: Frame, selector: Selector, known: Callable[[], Known], ingress: Ingress, allowed: Allowed
    ) -> None:
        self._frame = frame
        self._selector = selector
        self._known = known
        self.ingress = ingress
        self._allowed = allowed
        self._production: aiohttp.ClientSession | None = None
        self._sandboxes: aiohttp.ClientSession | None = None
        self._sockets: dict[str, set[asyncio.Event]] = {}
        self.counts: Counter[str] = Counter()
        self.production_seconds = Histogram(
            "valhalla_proxy_production_seconds", "From a request to production's answer"
        )
        self.sandbox_seconds = Histogram("valhalla_proxy_sandbox_seconds", "From a request to its sandbox's answer")

    @property
    def upstreams(self) -> int:
        """How many sandboxes have one."""
        return len(self._known().by_id)

    async def start(self) -> None:
        """Be ready for requests."""
        self._production = session(self._frame.patience)
        self._sandboxes = session(self._frame.patience, self._allowed)

    async def close(self) -> None:
        """Close the connections to upstreams."""
        for client in (self._production, self._sandboxes):
            if client is not None:
                await client.close()

    def settle(self) -> None:
        """Cut the open WebSockets of sandboxes that have no upstream any more."""
        known = self._known().by_id
        for sandbox in self._sockets.keys() - known.keys():
            for ended in self._sockets[sandbox]:
                ended.set()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            if request.path_qs == HEALTH:
                return self._health()
            return await self._handle(request)
        except Problem as problem:
            self.counts[problem.code] += 1
            return _problem(problem, request)

    def _health(self) -> web.Response:
        live = self.ingress.is_live
        return web.json_response({"ok": live, "upstreams": self.upstreams}, status=200 if live else 503)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        given: Headers = tuple(request.headers.items())
        path = request.raw_path
        if request.method in ("CONNECT", "TRACE") or not path.startswith("/") or "#" in path:
            raise errors.RequestRefused("not with this method, or not to this form of address")
        passing.check(given, self._selector.terms.headers)
        choice = await self._choose(given, path)
        if choice.sandbox is None:
            return await self._ask_production(request, given, choice)
        if choice.target is None:
            raise errors.NoUpstream(f"the sandbox {choice.sandbox} has no upstream", sandbox=choice.sandbox)
        try:
            return await self._send(request, given, choice, choice.target)
        except Unreachable as error:
            # what the sandbox may have begun is not begun again elsewhere
            if self._selector.terms.down == "refuse" or error.sent:
                raise _down(choice.target, error) from error
        _log.warning("a sandbox's upstream is down, and production answers", sandbox_id=choice.sandbox)
        return await self._ask_production(request, given, Choice(choice.path, why="upstream-down"))

    async def _ask_production(self, request: web.BaseRequest, given: Headers, choice: Choice) -> web.StreamResponse:
        try:
            return await self._send(request, given, choice, self._frame.production)
        except Unreachable as error:
            raise _down(self._frame.production, error) from error

    async def _choose(self, given: Headers, path: str) -> Choice:
        deadline = asyncio.get_running_loop().time() + _SETTLING
        while True:
            try:
                return self._selector.choose(given, path, self._known(), self.ingress.table, live=self.ingress.is_live)
            except errors.RoutesUnknown:
                # a claim that is under way takes milliseconds, and so does joining anew
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(_LOOK)

    async def _send(
        self, request: web.BaseRequest, given: Headers, choice: Choice, target: Target
    ) -> web.StreamResponse:
        marks = _marks(choice)
        frame, peer = self._frame, request.remote or "unknown"
        sent = passing.onward(
            given,
            peer=peer,
            trusted=_is_in(peer, frame.trusted),
            scheme=request.scheme,
            via=frame.via,
            host=_host(target) if target.own_host else None,
        )
        client = self._production if target.sandbox is None else self._sandboxes
        assert client is not None
        self.counts["production" if target.sandbox is None else "sandbox"] += 1
        try:
            if is_websocket(request):
                return await self._socket(request, client, target, choice.path, sent, marks)
            began = time.perf_counter()
            answer = await relay(request, client, target, choice.path, sent, marks, most=frame.max_body)
            (self.production_seconds if target.sandbox is None else self.sandbox_seconds).observe(
                time.perf_counter() - began
            )
            return answer
        except Unreachable as error:
            if request.transport is None:
                # whoever asked has gone: there is nobody to tell
                raise asyncio.CancelledError from error
            raise

    async def _socket(
        self,
        request: web.BaseRequest,
        client: aiohttp.ClientSession,
        target: Target,
        path: str,
        sent: Headers,
        marks: Headers,
    ) -> web.StreamResponse:
        ended = asyncio.Event()
        mine = self._sockets.setdefault(target.sandbox, set()) if target.sandbox is not None else set[asyncio.Event]()
        mine.add(ended)
        try:
            return await relay_socket(request, client, target, path, sent, marks, ended)
        finally:
            mine.discard(ended)
            if target.sandbox is not None and not mine:
                self._sockets.pop(target.sandbox, None)


async def serve(proxy: Proxy, host: str, port: int, *, grace: float, until: Callable[[int], Awaitable[None]]) -> None:
    """Answer requests from when ``until`` is called (with the port) to when it returns; then ``grace`` seconds more.

    Raises:
        OSError: the port cannot be had.
    """
    server = web.Server(proxy, handler_cancellation=True, auto_decompress=False, access_log=None)
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=grace)
    await runner.setup()
    try:
        await proxy.start()
        site = web.TCPSite(runner, host, port, backlog=2048)
        await site.start()
        await until(runner.addresses[0][1])
    finally:
        # no new connections; those under way have their time
        await runner.cleanup()
        await proxy.close()


def _marks(choice: Choice) -> Headers:
    """Return what an answer says of where it came from, if anything spoke of sandboxes."""
    if choice.sandbox is not None:
        name = choice.target.name if choice.target is not None else choice.sandbox
        vary = {"header": choice.header, "baggage": "baggage", "key": "valhalla-routing-key"}.get(choice.by or "")
        # it must not be kept and given to others, who ask production
        marks = [(ROUTED, f"sandbox; name={name}"), ("CDN-Cache-Control", "no-store")]
        if choice.by == "path":
            # the key in the address is not told to other sites
            marks.append(("Referrer-Policy", "same-origin"))
        return marks if vary is None else [*marks, ("Vary", vary)]
    return [] if choice.why is None else [(ROUTED, f"production; why={choice.why}")]


def _host(target: Target) -> str:
    base = target.base
    return base.host if base.port == {"http": 80, "https": 443}[base.scheme] else f"{base.host}:{base.port}"


def _down(target: Target, error: Unreachable) -> Problem:
    if target.sandbox is None:
        kind = errors.ProductionSlow if error.slow else errors.ProductionDown
        return kind()
    said = f"the upstream of the sandbox '{target.name}' {'is slow' if error.slow else 'cannot be reached'}"
    return (errors.UpstreamSlow if error.slow else errors.UpstreamDown)(said, sandbox=target.name)


def _problem(problem: Problem, request: web.BaseRequest) -> web.Response:
    status, headers, body = problem_parts(problem)
    named = CIMultiDict((name.decode(), value.decode()) for name, value in headers if name != b"content-length")
    named["Server"] = "valhalla"
    named["Cache-Control"] = "no-store"
    response = web.Response(status=status, headers=named, body=body)
    if request.body_exists and not request.content.at_eof():
        # the rest of the body is not waited for
        response.force_close()
    return response


def _is_in(address: str, networks: tuple[Network, ...]) -> bool:
    if not networks:
        return False
    try:
        here = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(here in network for network in networks)
