"""The plane of a test on a port: streams never end, so they need a real server and a real client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncGenerator[str]:
    """Serve ``app`` on a free port and yield its ``host:port``."""
    config = uvicorn.Config(
        app, port=0, lifespan="off", log_config=None, access_log=False, ws="websockets-sansio", ws_max_size=65_536
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.002)
    try:
        yield "{}:{}".format(*server.servers[0].sockets[0].getsockname()[:2])
    finally:
        server.should_exit = server.force_exit = True
        await task
