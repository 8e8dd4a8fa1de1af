"""``valhalla.install``: the example of the documentation, and what applications keep."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, HTTPException, Request
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.gate.driving import ask, hello, scope

import valhalla
from valhalla.gate import HttpMetrics
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Misconfigured

PAGE = Path(__file__).parents[2] / "docs" / "gate.md"


def client(app: Any, **options: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://app", **options)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["correlation_id"] == answer.headers["x-correlation-id"]
    assert document["status"] == status
    return document


async def test_the_example_of_the_page(capfd: pytest.CaptureFixture[str]) -> None:
    [example] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 15
    names: dict[str, Any] = {}
    exec(compile(example, str(PAGE), "exec", dont_inherit=True), names)  # the page is ours
    origin = {"Origin": "https://shop.example"}
    async with client(names["app"]) as asks:
        good = await asks.get("/orders/7", headers={"X-Correlation-ID": "mine", **origin})
        assert (good.json(), good.headers["x-correlation-id"]) == ({"number": 7}, "mine")
        for answer, status in (
            (await asks.get("/orders/1000", headers=origin), 500),
            (await asks.get("/orders/x", headers=origin), 422),
            (await asks.get("/nothing", headers=origin), 404),
            (await asks.put("/orders/7", headers=origin), 405),
            (await asks.post("/orders/7", content=b"x" * 65_537, headers=origin), 413),
        ):
            assert "no such order" not in problem(answer, status)["detail"]
            assert answer.headers["access-control-allow-origin"] == "https://shop.example"
            assert answer.headers["traceparent"]
        preflight = await asks.options("/orders/7", headers={**origin, "Access-Control-Request-Method": "GET"})
        assert preflight.status_code == 204
        assert preflight.headers["x-correlation-id"]
    assert '"status":405' in capfd.readouterr().err


class Order(BaseModel):
    number: int
    secret: str


async def test_what_fastapi_refuses() -> None:
    app, inner = FastAPI(), APIRouter()
    metrics = HttpMetrics()

    @inner.post("/orders/{place}")
    async def make(place: str, order: Order) -> None: ...

    @app.get("/gone")
    async def gone() -> None:
        raise HTTPException(410, "long gone", headers={"X-Reason": "age"})

    @app.get("/detail")
    async def detail() -> None:
        raise HTTPException(400, {"why": ["a", b"\xff"], "password": "hunter2"})  # type: ignore[arg-type]

    app.include_router(inner, prefix="/v1")
    assert valhalla.install(app, access_log=False, metrics=metrics) is app
    async with client(app) as asks:
        for content, kind in ((b"\xff\xfe", "application/json"), (b"{", "application/json"), (b"x", "text/plain")):
            problem(await asks.post("/v1/orders/a", content=content, headers={"Content-Type": kind}), 422)
        refused = await asks.post("/v1/orders/a", json={"number": "n", "secret": ["hunter2"]})
        assert {each["pointer"] for each in problem(refused, 422)["errors"]} == {"/number", "/secret"}
        assert "hunter2" not in refused.text
        answer = await asks.get("/gone")
        assert (problem(answer, 410)["detail"], answer.headers["x-reason"]) == ("long gone", "age")
        assert problem(await asks.get("/detail"), 400)["info"]["password"] == "***"
        answer = await asks.delete("/gone")
        assert (problem(answer, 405)["code"], answer.headers["allow"]) == ("method-not-allowed", "GET")
    assert {(each.method, each.route) for each in metrics.routes()} == {
        ("POST", "/v1/orders/{place}"),
        ("GET", "/gone"),
        ("DELETE", "/gone"),
        ("GET", "/detail"),
    }


async def test_its_own_handlers_and_middleware_stay() -> None:
    seen: list[str] = []

    async def teapot(_request: Request, _error: Exception) -> PlainTextResponse:
        return PlainTextResponse("teapot", 418)

    async def fails(_request: Request) -> PlainTextResponse:
        raise KeyError("x")

    app = Starlette(routes=[Route("/", fails)], exception_handlers={KeyError: teapot})
    valhalla.install(app, access_log=False, failed=lambda _error, ended: seen.append(ended.name))

    class Late:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["path"])
            await self.app(scope, receive, send)

    app.add_middleware(Late)
    async with client(app) as asks:
        answer = await asks.get("/")
        assert (answer.status_code, answer.text, seen) == (418, "teapot", ["/"])
        assert answer.headers["x-correlation-id"]


async def test_keys() -> None:
    def authenticate(key: str, address: str | None) -> Principal | None:
        return Principal("ann", "o", frozenset()) if (key, address) == ("good", "192.0.2.1") else None

    app = valhalla.install(hello, authenticate=authenticate, public=["/live", "/static/"], access_log=False)
    for path, headers, status in (
        ("/live", {}, 200),
        ("/static/a.css", {}, 200),
        ("/live/x", {}, 401),
        ("/", {}, 401),
        ("/", {"Authorization": "Bearer bad"}, 401),
        ("/", {"Authorization": "Bearer good"}, 200),
    ):
        assert (await ask(app, scope(path, headers=headers))).status == status, path


def test_a_wrong_use_is_said_at_once() -> None:
    app = FastAPI()
    valhalla.install(app)
    with pytest.raises(Misconfigured, match="already"):
        valhalla.install(app)
    with pytest.raises(Misconfigured, match="already"):
        valhalla.install(valhalla.install(hello))
    with pytest.raises(Misconfigured, match="trusted_proxies"):
        valhalla.install(FastAPI(), trusted_proxies=["nowhere"])
    serving = Starlette()
    with TestClient(serving), pytest.raises(Misconfigured, match="begun"):
        valhalla.install(serving)


def test_the_lifespan_passes() -> None:
    events: list[str] = []

    async def life(_app: object) -> Any:
        events.append("start")
        yield
        events.append("stop")

    from contextlib import asynccontextmanager

    with TestClient(valhalla.install(Starlette(lifespan=asynccontextmanager(life)))):
        pass
    assert events == ["start", "stop"]


def test_it_is_imported_when_it_is_taken() -> None:
    program = "import sys, valhalla; assert 'fastapi' not in sys.modules; from valhalla import install; print(install)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert "install" in done.stdout
