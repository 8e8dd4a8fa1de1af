"""A control plane on the test process's servers, and clients whose keys it issued itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.conftest import Servers
from tests.server.blocklist import PATH
from tests.server.plane import Plane, running

from valhalla.kit.registry import Delete
from valhalla.kit.settings import Settings

Make = Callable[..., Awaitable[dict[str, Any]]]
Issue = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture(scope="session")
async def plane(servers: Servers) -> AsyncIterator[Plane]:
    """The control plane; its reaper sleeps, so that only a test that wakes it sees its work."""
    settings = Settings(
        data_dir=servers.data_dir,
        max_sandboxes_per_owner=6,
        reap_interval=timedelta(days=1),
        access_log=False,
        graphql=True,
        smoke_targets=["http://127.0.0.1:9"],
        outgoing_networks=["127.0.0.0/8"],
    )
    async with running(settings, servers.cell, servers.endpoints) as plane:
        yield plane


@pytest.fixture(scope="session")
async def admin(plane: Plane) -> httpx.AsyncClient:
    """The operator."""
    return plane.client(await plane.admin_key())


@pytest.fixture(scope="session")
async def issue(admin: httpx.AsyncClient) -> Issue:
    """Make a key through the API; it is valid at once."""

    async def make(owner: str, *scopes: str, **members: Any) -> dict[str, Any]:
        body = {"owner": owner, "scopes": list(scopes), **members}
        response = await admin.post("/system/api-clients", json=body)
        assert response.status_code == 201, response.text
        return response.json()

    return make


@pytest.fixture(scope="session")
async def team_a(plane: Plane, issue: Issue) -> httpx.AsyncClient:
    """A developer."""
    return plane.client((await issue("http-a", "sandbox:write"))["key"])


@pytest.fixture(scope="session")
async def team_b(plane: Plane, issue: Issue) -> httpx.AsyncClient:
    """A developer of another team."""
    return plane.client((await issue("http-b", "sandbox:write"))["key"])


@pytest.fixture
async def make(team_a: httpx.AsyncClient) -> AsyncIterator[Make]:
    """Make sandboxes that end with the test."""
    made: list[tuple[httpx.AsyncClient, str]] = []

    async def create(client: httpx.AsyncClient = team_a, **body: Any) -> dict[str, Any]:
        response = await client.post("/api/sandboxes", json={"template": "empty", **body})
        assert response.status_code == 201, response.text
        made.append((client, response.json()["id"]))
        return response.json()

    yield create
    for client, sandbox_id in made:
        await client.delete(f"/api/sandboxes/{sandbox_id}")


@pytest.fixture
async def rules(plane: Plane, admin: httpx.AsyncClient) -> AsyncIterator[str]:
    """The path of the rules; those that a test made are gone afterwards."""
    before = {rule["key"] for rule in (await admin.get(PATH, params={"limit": 200})).json()["items"]}
    yield PATH
    feature = plane.runtime.features.blocklist
    await feature.keeper.refresh()

    registry = feature.service.registry
    made = [record.key for record in (await plane.runtime.db.run(registry.load))[1] if record.key not in before]
    for begin in range(0, len(made), 1000):
        some = [Delete(key) for key in made[begin : begin + 1000]]
        await plane.runtime.db.run(registry.bulk, some, actor="test")
    await feature.keeper.refresh()
