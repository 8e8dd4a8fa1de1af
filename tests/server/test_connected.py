"""Applications elsewhere decide by the snapshot of this control plane."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused
from tests.server.serving import serving

import valhalla

SNAPSHOT = "/system/snapshot"


@pytest.fixture(scope="module")
async def machine(plane: Plane, issue: Issue) -> httpx.AsyncClient:
    return plane.client((await issue("http-connected", "snapshot:read"))["key"])


async def test_who_may_have_it(plane: Plane, machine: httpx.AsyncClient, team_a: httpx.AsyncClient) -> None:
    refused(await team_a.get(SNAPSHOT), 403, "forbidden")
    refused(await plane.client().get(SNAPSHOT), 401, "unauthenticated")
    answer = await machine.get(SNAPSHOT)
    document = answer.json()
    assert set(document["registries"]) == {
        "api_clients", "rate_limits", "maintenance_state", "maintenance_windows",
    }  # fmt: skip
    assert answer.headers["etag"] == f'"{document["revision"]}"'
    assert answer.headers["cache-control"] == "no-store"
    assert document["environment"] == "local"


async def test_only_what_is_new(machine: httpx.AsyncClient, issue: Issue) -> None:
    before = (await machine.get(SNAPSHOT)).json()["revision"]
    assert (await machine.get(SNAPSHOT, headers={"If-None-Match": f'"{before}"'})).status_code == 304
    began = time.monotonic()
    assert (await machine.get(SNAPSHOT, params={"watch": before, "wait": 0.05})).status_code == 304
    assert time.monotonic() - began >= 0.05
    waiting = asyncio.create_task(machine.get(SNAPSHOT, params={"watch": before, "wait": 20}))
    await asyncio.sleep(0.05)
    made = await issue("http-connected-2", "sandbox:read")
    document = (await waiting).json()
    assert list(document["registries"]) == ["api_clients"]
    rows = {row["key"]: row["value"] for row in document["registries"]["api_clients"]["records"]}
    assert made["key"] not in str(rows)
    assert rows[made["id"]]["scopes"] == ["sandbox:read"]
    # what nobody can have known, and what others' releases say, is answered with everything
    for odd in ("x", "1.2", "", "0.0.0.0.0.0"):
        assert len((await machine.get(SNAPSHOT, params={"watch": odd})).json()["registries"]) == 4, odd
    refused(await machine.get(SNAPSHOT, params={"watch": before, "wait": 1e9}), 422, "invalid-request")


async def test_an_application_elsewhere(plane: Plane, admin: httpx.AsyncClient, issue: Issue) -> None:
    app = FastAPI()

    @app.post("/orders")
    async def order() -> dict[str, bool]:
        return {"ordered": True}

    secret = (await issue("http-connected", "snapshot:read"))["key"]
    caller = await issue("http-caller", "sandbox:read")
    async with serving(plane.app) as place:
        following = valhalla.Plane(f"http://{place}", secret)
        valhalla.install(app, plane=following, access_log=False)
        assert await following.ready()
        transport = httpx.ASGITransport(app)
        headers = {"Authorization": f"Bearer {caller['key']}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://app", headers=headers) as asks:

            async def becomes(status: int) -> dict[str, Any]:
                async with asyncio.timeout(10):
                    while (answer := await asks.post("/orders")).status_code != status:
                        await asyncio.sleep(0.002)
                return answer.json()

            await becomes(200)
            rule = {"rate": "1/hour", "kind": "exact", "subjects": [caller["id"]], "routes": ["/orders"]}
            try:
                assert (await admin.put("/system/rate-limits/elsewhere", json=rule)).status_code == 201
                assert (await becomes(429))["limit"] == "elsewhere"
            finally:
                await admin.delete("/system/rate-limits/elsewhere")
            await becomes(200)
            try:
                await admin.post("/system/maintenance/state", json={"mode": "maintenance", "reason": "elsewhere too"})
                assert (await becomes(503))["reason"] == "elsewhere too"
            finally:
                await admin.post("/system/maintenance/state", json={"mode": "normal", "reason": "over"})
            await becomes(200)
            assert (await admin.delete(f"/system/api-clients/{caller['id']}")).status_code == 204
            assert (await becomes(401))["code"] == "unauthenticated"
    # the plane is gone, and what it told holds on; the last poll is answered still
    await issue("http-connected-2", "sandbox:read")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app", headers=headers) as asks:
        async with asyncio.timeout(10):
            while following.status().error is None:
                await asyncio.sleep(0.01)
        assert (await asks.post("/orders")).status_code == 401
        machine = {"Authorization": f"Bearer {secret}"}
        assert (await asks.post("/orders", headers=machine)).status_code == 200
    await following.close()
