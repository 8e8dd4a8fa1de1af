"""The process of ``valhalla ingress http``: it receives webhooks without the control plane."""

from __future__ import annotations

import asyncio
import contextlib
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
from valhalla.sandbox.routing.http.webhooks import rules
from valhalla.sandbox.routing.http.webhooks.api import receiving as routes
from valhalla.sandbox.routing.http.webhooks.contracts import Receiver
from valhalla.sandbox.routing.http.webhooks.masking import Masking
from valhalla.sandbox.routing.http.webhooks.receiving import RECEIVERS, Receiving
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.server.beside import Beside, run, until_signalled
from valhalla.server.options import ServeOptions


def receive(options: ServeOptions, host: str, port: int, *, grace: float = 10.0) -> int:
    """Receive webhooks until SIGINT or SIGTERM; requests that are under way have ``grace`` seconds then.

    Raises:
        Misconfigured: the address cannot be listened on.
        Unavailable: the database or NATS cannot be reached.
    """
    return run(_main(Beside.of(options), host, port, grace))


async def _main(beside: Beside, host: str, port: int, grace: float) -> None:
    db = await beside.database("webhooks")
    feed = Feed(db)
    registry = Registry(RECEIVERS, Receiver, Ledger(beside.cell), validate=rules.check)
    feed.add(registry)
    ingress = beside.ingress("webhooks")

    async def joined() -> Ingress:
        return ingress

    receiving = Receiving(registry, feed, Masking(beside.cell), joined, clock=Clock())
    stop = until_signalled()
    try:
        await feed.start()
        await ingress.start()
        await _serve(beside, receiving, host, port, grace, stop)
    finally:
        # what has been answered with 202 is stored already: nothing waits here but what nobody was told of
        await asyncio.gather(ingress.stop(), feed.stop(), return_exceptions=True)
        await db.close()


async def _serve(beside: Beside, receiving: Receiving, host: str, port: int, grace: float, stop: asyncio.Event) -> None:
    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None]:
            # ours end it, after the requests that are under way
            yield

    settings = beside.settings
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
    server = Server(config)
    serving = asyncio.create_task(server.serve())
    ending = asyncio.create_task(stop.wait())
    while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    if serving.done():
        raise Misconfigured(
            f"cannot listen on {host}:{port}",
            help="Stop what uses the port, or choose another with --listen.",
            setting="listen",
        )
    bound = server.servers[0].sockets[0].getsockname()[1]
    print(f"Webhooks are received on {host}:{bound}", flush=True)  # noqa: T201 - says that it is there
    await asyncio.wait([serving, ending], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    ending.cancel()
    await serving
