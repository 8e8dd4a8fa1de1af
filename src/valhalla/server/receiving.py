"""The process of ``valhalla ingress http``: it receives webhooks without the control plane."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator
from typing import Any

import uvicorn
from fastapi import FastAPI

from valhalla.gate import Bounds, Gate, Hooks
from valhalla.gate.handlers import handle_problems
from valhalla.gate.rules import networks
from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Misconfigured
from valhalla.kit.changes import Feed
from valhalla.kit.ledger import Ledger
from valhalla.kit.registry import Registry
from valhalla.kit.settings import Settings
from valhalla.sandbox.routing.http.webhooks import rules
from valhalla.sandbox.routing.http.webhooks.api import receiving as routes
from valhalla.sandbox.routing.http.webhooks.contracts import Receiver
from valhalla.sandbox.routing.http.webhooks.masking import Masking
from valhalla.sandbox.routing.http.webhooks.metrics import WebhookMetrics
from valhalla.sandbox.routing.http.webhooks.receiving import RECEIVERS, Receiving
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.server.beside import Beside, measured, run, until_signalled
from valhalla.server.options import ServeOptions


def receive(
    options: ServeOptions, host: str, port: int, *, grace: float = 10.0, metrics: tuple[str, int] | None = None
) -> int:
    """Receive webhooks until SIGINT or SIGTERM; requests that are under way have ``grace`` seconds then.

    Raises:
        Misconfigured: the address cannot be listened on.
        Unavailable: the database or NATS cannot be reached.
    """
    return run(_main(Beside.of(options), host, port, grace, metrics))


async def _main(beside: Beside, host: str, port: int, grace: float, metrics: tuple[str, int] | None) -> None:
    db = await beside.database("webhooks")
    feed = Feed(db)
    registry = Registry(RECEIVERS, Receiver, Ledger(beside.cell), validate=rules.check)
    feed.add(registry)
    ingress = beside.ingress("webhooks")

    async def joined() -> Ingress:
        return ingress

    receiving = Receiving(registry, feed, Masking(beside.cell), joined, clock=Clock())
    # before it joins: what takes its time would cost the ingress its lease
    server = _server(beside.settings, receiving, host, port, grace)
    stop = until_signalled()
    try:
        await feed.start()
        await ingress.start()
        with measured(WebhookMetrics(receiving), metrics):
            await _serve(server, host, port, stop)
    finally:
        # what has been answered with 202 is stored already: nothing waits here but what nobody was told of
        await asyncio.gather(ingress.stop(), feed.stop(), return_exceptions=True)
        await db.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        # ours end it, after the requests that are under way
        yield


def _server(settings: Settings, receiving: Receiving, host: str, port: int, grace: float) -> _Server:
    app = FastAPI(
        docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, routes=routes(receiving).routes
    )
    handle_problems(app)
    bounds = Bounds(
        max_body=settings.max_body_bytes,
        body_timeout=settings.body_timeout.total_seconds(),
        trusted=networks(settings.trusted_proxies),
    )
    config: Any = uvicorn.Config(
        Gate(app, Hooks(), bounds),
        host=host,
        port=port,
        http="httptools",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(grace)),
    )
    config.load()
    return _Server(config)


async def _serve(server: _Server, host: str, port: int, stop: asyncio.Event) -> None:
    try:
        sock = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise Misconfigured(
            f"cannot listen on {host}:{port}: {error.strerror}",
            help="Stop what uses the port, or choose another with --listen.",
            setting="listen",
        ) from error
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    ending = asyncio.create_task(stop.wait())
    while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    print(f"Webhooks are received on {host}:{sock.getsockname()[1]}", flush=True)  # noqa: T201 - says that it is there
    await asyncio.wait([serving, ending], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    ending.cancel()
    await serving
