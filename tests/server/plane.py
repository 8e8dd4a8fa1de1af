"""A control plane inside the test process: its runtime, its application, and who asks it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import sqlalchemy as sa
from starlette.types import ASGIApp

from valhalla.embedded import Endpoints
from valhalla.kernel.principal import SYSTEM
from valhalla.kit.cellkey import CellKey
from valhalla.kit.settings import Settings
from valhalla.runtime import Runtime
from valhalla.sandbox.tables import sandboxes
from valhalla.server.app import build
from valhalla.server.starting import start

PROBLEM_JSON = "application/problem+json"
# a 503 of these says what is wrong by check
_REPORTS = ("/ready", "/health")
# and others' protocols have forms of their own
_PROTOCOLS = ("/ofrep/", "/v1/")


async def _holds_for_every_answer(response: httpx.Response) -> None:
    """A correlation id always, a whole problem wherever something is refused."""
    assert response.headers.get_list("x-correlation-id"), response.request.url
    assert len(response.headers.get_list("x-correlation-id")) == 1
    if response.status_code >= 400 and not response.request.url.path.startswith((*_REPORTS, *_PROTOCOLS)):
        assert response.headers["content-type"] == PROBLEM_JSON
        if response.request.method != "HEAD":
            problem = response.json() if response.is_stream_consumed else await _read(response)
            assert problem["status"] == response.status_code
            assert problem["type"] == f"/problems/{problem['code']}"
            assert problem["correlation_id"] == response.headers["x-correlation-id"]
            assert problem["title"]
            assert problem["detail"]
            assert problem["help"]


async def _read(response: httpx.Response) -> Any:
    await response.aread()
    return response.json()


@dataclass
class Plane:
    """One runtime with its application; ``client`` makes callers of it."""

    runtime: Runtime
    app: ASGIApp
    _clients: list[httpx.AsyncClient] = field(default_factory=list)

    def client(self, key: str | None = None, **options: Any) -> httpx.AsyncClient:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False),
            base_url="http://plane",
            headers=headers,
            event_hooks={"response": [_holds_for_every_answer]},
            **options,
        )
        self._clients.append(client)
        return client

    async def admin_key(self) -> str:
        issued = await self.runtime.features.clients.service.issue(SYSTEM, owner="admin", scopes=["admin"])
        await self.runtime.feed.refresh()
        return issued.key

    async def rows(self) -> int:
        """How many sandboxes were ever written."""
        count = sa.select(sa.func.count()).select_from(sandboxes)
        return await self.runtime.db.read(lambda conn: conn.execute(count).scalar_one())

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()
        await self.runtime.stop()


@asynccontextmanager
async def running(settings: Settings, cell: CellKey, endpoints: Endpoints) -> AsyncGenerator[Plane]:
    """Start a control plane over servers that run."""
    runtime = Runtime(settings, cell, endpoints)
    plane = Plane(runtime, build(runtime))
    try:
        await start(runtime, lambda _key: None)
        yield plane
    finally:
        await plane.close()


def refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check what kind of refusal an answer is, and return the problem."""
    assert response.status_code == status, response.text
    problem: dict[str, Any] = response.json()
    assert problem["code"] == code, problem
    assert response.headers["content-type"] == PROBLEM_JSON
    return problem
