"""Applications behind a proxy, and the proxy before them, over a real NATS."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.sandbox.routing.conftest import Bus
from yarl import URL

from valhalla.kit.cellkey import CellKey
from valhalla.kit.outgoing_guard import Base
from valhalla.sandbox.routing.http.keys import Keys, routing_key
from valhalla.sandbox.routing.http.proxy.connecting import Patience
from valhalla.sandbox.routing.http.proxy.contracts import Known, Target, Terms
from valhalla.sandbox.routing.http.proxy.selecting import Selector, known_of
from valhalla.sandbox.routing.http.proxy.server import Frame, Proxy, serve
from valhalla.sandbox.routing.http.upstreams.rules import Allowed
from valhalla.sandbox.routing.ingress import Ingress

CELL = CellKey(b"c" * 32)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class App:
    """One application that notes what it is asked; ``answer`` may do something else than say who it is."""

    name: str
    port: int = 0
    asked: list[web.Request] = field(default_factory=list[web.Request])
    bodies: list[bytes] = field(default_factory=list[bytes])
    answer: Handler | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.answer is not None:
            return await self.answer(request)
        self.bodies.append(await request.read())
        return web.Response(text=self.name, headers={"x-app": self.name})


@asynccontextmanager
async def running(name: str) -> AsyncGenerator[App]:
    """Run an application on a port of its own."""
    made = App(name)
    application = web.Application(client_max_size=2**30)
    application.router.add_route("*", "/{tail:.*}", made.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()


@dataclass
class Scene:
    """Production, two sandboxes with upstreams, and the proxy before them."""

    bus: Bus
    ingress: Ingress
    production: App
    first: App
    second: App
    client: aiohttp.ClientSession
    known: Known = field(default_factory=Known)
    proxy: Proxy | None = None
    url: str = ""
    port: int = 0

    def connect(self, *apps: App, url: str | None = None) -> None:
        """Register the upstreams of these and of no others."""
        targets = [
            Target(Base.parse(url or f"http://127.0.0.1:{app.port}"), app.name, f"box-{app.name[:4]}") for app in apps
        ]
        self.known = known_of(iter(targets))
        if self.proxy is not None:
            self.proxy.settle()

    def key(self, app: App) -> dict[str, str]:
        return {"valhalla-routing-key": routing_key(CELL, app.name)}

    async def get(self, path: str = "/", method: str = "GET", **more: Any) -> tuple[int, str, aiohttp.ClientResponse]:
        async with self.client.request(method, URL(self.url + path, encoded=True), **more) as answer:
            return answer.status, await answer.text(), answer

    async def raw(self, sent: bytes, *, answers: int = 1) -> bytes:
        """Send bytes as they are; return what came when so many answers were there and a moment had passed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(sent)
        found = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(10) as limit:
                while part := await reader.read(65_536):
                    found += part
                    if found.count(b"HTTP/1.1 ") >= answers:
                        # what else there is comes at once
                        limit.reschedule(asyncio.get_running_loop().time() + 0.1)
        writer.close()
        return found


Proxied = Callable[..., Awaitable[Scene]]


@pytest.fixture
async def scene(bus: Bus) -> AsyncIterator[Scene]:
    """Everything but the proxy; sandboxes are named by ids that no other test has."""
    ids = [secrets.token_hex(8) for _ in range(2)]
    async with (
        running("production") as production,
        running(ids[0]) as first,
        running(ids[1]) as second,
        bus.ingress(name="proxy") as ingress,
        aiohttp.ClientSession(auto_decompress=False) as client,
    ):
        made = Scene(bus, ingress, production, first, second, client)
        made.connect(first, second)
        yield made


@pytest.fixture
async def proxied(scene: Scene) -> AsyncIterator[Proxied]:
    """Start the proxy before the scene, with some terms."""
    stop, tasks = asyncio.Event(), list[asyncio.Task[None]]()

    async def start(
        *, patience: Patience | None = None, max_body: int = 0, loopback: bool = True, **terms: Any
    ) -> Scene:
        frame = Frame(
            production=Target(Base("http", "127.0.0.1", scene.production.port)),
            via="valhalla-test",
            max_body=max_body,
            patience=patience or Patience(2.0, 10.0),
        )
        selector = Selector(Terms(**({"headers": ("x-user",)} | terms)), Keys(CELL))
        scene.proxy = Proxy(frame, selector, lambda: scene.known, scene.ingress, Allowed.of(None, loopback=loopback))
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def until(port: int) -> None:
            ready.set_result(port)
            await stop.wait()

        tasks.append(asyncio.create_task(serve(scene.proxy, "127.0.0.1", 0, grace=2.0, until=until)))
        scene.port = await ready
        scene.url = f"http://127.0.0.1:{scene.port}"
        return scene

    yield start
    stop.set()
    await asyncio.gather(*tasks)
