"""What the benchmark of the proxy asks: an application that costs next to nothing, and a proxy that decides nothing."""

from __future__ import annotations

import asyncio
import json
import sys

import aiohttp
from aiohttp import web

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 200\r\n\r\n" + b"x" * 200


class Application(asyncio.Protocol):
    """Answers every request that has no body in the same way."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Answer as many requests as have come."""
        whole = self._rest + data
        self._rest = whole.rpartition(b"\r\n\r\n")[2]
        self._transport.write(_ANSWER * whole.count(b"\r\n\r\n"))  # type: ignore[attr-defined]


async def application() -> None:
    """Serve it on a free port."""
    server = await asyncio.get_running_loop().create_server(Application, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


async def bare(production: str) -> None:
    """Serve the shortest proxy that one writes with the same library."""
    async with aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0)) as client:

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            async with client.request(request.method, production + request.raw_path, headers=request.headers) as answer:
                return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

        runner = web.ServerRunner(web.Server(handle, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(application() if sys.argv[1] == "application" else bare(sys.argv[2]))
