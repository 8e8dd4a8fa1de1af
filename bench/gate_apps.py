"""The applications that ``bench.gate`` compares: ``python -m bench.gate_apps NAME`` serves one on a free port."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
import uvloop
from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware

from valhalla.gate import AccessLog, Bounds, Gate, Hooks, HttpMetrics, Switchboard

Next = Callable[[Request], Awaitable[Response]]


class Owner(BaseModel):
    """Nested, as answers are."""

    name: str
    team: str


class Item(BaseModel):
    """Six members."""

    id: int
    name: str
    price: float
    active: bool
    tags: list[str]
    owner: Owner


async def item(item_id: int) -> Item:
    """Answer one item."""
    return Item(id=item_id, name="x", price=1.5, active=True, tags=["a", "b"], owner=Owner(name="ann", team="blue"))


def bare() -> FastAPI:
    """One route and nothing else."""
    app = FastAPI()
    app.get("/items/{item_id}")(item)
    return app


def gate(app: Any, *, log: bool) -> Gate:
    """The gate as an application gets it; the metrics are always kept."""
    line = AccessLog(open(os.devnull, "wb", buffering=0)) if log else None  # noqa: SIM115, PTH123
    return Gate(app, Hooks(metrics=HttpMetrics(), log=line), Bounds())


def five() -> FastAPI:
    """The same five tasks as people usually write them: one BaseHTTPMiddleware class for each."""
    app = bare()
    state: dict[str, Any] = {"mode": "normal", "blocked": set[str](), "left": 10**9, "count": 0, "seconds": 0.0}

    class Correlation(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Next) -> Response:
            correlation = request.headers.get("x-correlation-id") or uuid.uuid4().hex
            response = await call_next(request)
            response.headers["x-correlation-id"] = correlation
            return response

    class Maintenance(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Next) -> Response:
            return Response(status_code=503) if state["mode"] != "normal" else await call_next(request)

    class Blocklist(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Next) -> Response:
            blocked = request.client is not None and request.client.host in state["blocked"]
            return Response(status_code=403) if blocked else await call_next(request)

    class Limit(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Next) -> Response:
            state["left"] -= 1
            return Response(status_code=429) if state["left"] < 0 else await call_next(request)

    class Times(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Next) -> Response:
            started = time.perf_counter()
            response = await call_next(request)
            state["count"] += 1
            state["seconds"] += time.perf_counter() - started
            return response

    for middleware in (Limit, Blocklist, Maintenance, Times, Correlation):
        app.add_middleware(middleware)
    return app


def libraries() -> FastAPI:
    """What people install instead: slowapi, asgi-correlation-id, prometheus-fastapi-instrumentator."""
    from asgi_correlation_id import CorrelationIdMiddleware
    from prometheus_client import CollectorRegistry
    from prometheus_fastapi_instrumentator import Instrumentator
    from slowapi import Limiter
    from slowapi.middleware import SlowAPIASGIMiddleware
    from slowapi.util import get_remote_address

    app = bare()
    app.state.limiter = Limiter(key_func=get_remote_address, default_limits=["1000000000/minute"])
    app.add_middleware(SlowAPIASGIMiddleware)
    Instrumentator(registry=CollectorRegistry()).instrument(app)
    app.add_middleware(CorrelationIdMiddleware)
    return app


def _router() -> list[APIRouter]:
    routers: list[APIRouter] = []
    for area in range(20):
        router = APIRouter(prefix=f"/area{area}")
        for number in range(10):
            router.get(f"/things{number}/{{item_id}}")(item)
        routers.append(router)
    return routers


def many_bare() -> FastAPI:
    """200 routes in 20 included routers."""
    app = FastAPI()
    for router in _router():
        app.include_router(router)
    return app


def many_gate() -> Any:
    """The same 200 routes as the control plane serves them, behind the gate with its log."""
    app = FastAPI(routes=[route for router in _router() for route in router.routes])
    routes = Switchboard(app.routes)
    app.router.middleware_stack = routes.serve(app.router)
    gated = gate(app, log=True)
    gated.hooks.routes = routes
    return gated


APPS: dict[str, Callable[[], Any]] = {
    "bare": bare,
    "gate": lambda: gate(bare(), log=False),
    "gate+log": lambda: gate(bare(), log=True),
    "five": five,
    "libraries": libraries,
    "many-bare": many_bare,
    "many-gate": many_gate,
}


def scope(path: str) -> dict[str, Any]:
    """Return what uvicorn hands over for wrk's request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 1234),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8000")],
        "state": {},
    }


async def drive(app: Any, path: str, times: int) -> float:
    """Call an application without a server; return the microseconds of one request."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        assert message.get("status", 200) == 200

    started = time.perf_counter()
    for _ in range(times):
        await app(scope(path), receive, send)
    return (time.perf_counter() - started) / times * 1e6


def main(name: str, times: str | None = None, path: str = "/items/7") -> None:
    """Serve until killed, or drive ``times`` requests for an instruction counter."""
    app = APPS[name]()
    if times is not None:
        asyncio.run(drive(app, path, int(times)))
        return
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off", http="httptools")
    server = uvicorn.Server(config)

    async def serve() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        sys.stdout.write(json.dumps({"port": port}) + "\n")
        sys.stdout.flush()
        await serving

    uvloop.run(serve())


if __name__ == "__main__":
    main(*sys.argv[1:])
