"""Applications elsewhere decide by the snapshot of this control plane."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.server.conftest import Issue
from tests.server.crowdsec.debian import free_port
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


APPLICATION = """
import os
import uvicorn
import valhalla
from fastapi import FastAPI

app = FastAPI()


@app.get("/orders")
async def orders() -> dict[str, bool]:
    return {"listed": True}


following = valhalla.Plane(os.environ["PLANE"], country_header=os.environ.get("COUNTRY"), name="shop")
valhalla.install(app, plane=following, public=["/orders"], trusted_proxies=["127.0.0.0/8"], access_log=False)
uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning", proxy_headers=False)
"""


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_an_application_in_another_process_enforces_the_blocklist(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue, tmp_path: Path
) -> None:
    secret = (await issue("http-connected", "snapshot:read"))["key"]
    rule = {"type": "cidr", "value": "198.51.100.32/27", "reason": "a test"}
    paths = "/system/security/blocklist"
    assert (await admin.post(paths, json=rule)).status_code == 201
    script, port = tmp_path / "application.py", free_port()
    script.write_text(APPLICATION)
    async with serving(plane.app) as place:
        environment = {
            **os.environ, "PLANE": f"http://{place}", "VALHALLA_API_KEY": secret, "PORT": str(port),
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(sys.executable, str(script), env=environment)
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as asks:

                async def becomes(address: str, status: int) -> None:
                    async with asyncio.timeout(60):
                        while True:
                            try:
                                answer = await asks.get("/orders", headers={"X-Forwarded-For": address})
                                if answer.status_code == status:
                                    return
                            except httpx.TransportError:
                                assert process.returncode is None
                            await asyncio.sleep(0.05)

                await becomes("198.51.100.1", 200)
                await becomes("198.51.100.40", 403)
                assert (await admin.post(paths, json={"type": "ip", "value": "198.51.100.1"})).status_code == 201
                await becomes("198.51.100.1", 403)
                await admin.post(f"{paths}/unblock", json={"type": "cidr", "value": "198.51.100.32/27"})
                await becomes("198.51.100.40", 200)
                allowed = {"type": "cidr", "value": "198.51.100.0/24", "action": "allow"}
                assert (await admin.post(paths, json=allowed)).status_code == 201
                await becomes("198.51.100.1", 200)
        finally:
            process.terminate()
            await process.wait()
            await admin.delete(f"{paths}/allow:cidr:198.51.100.0/24")
            await admin.post(f"{paths}/unblock", json={"type": "ip", "value": "198.51.100.1"})


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_an_application_in_another_process_enforces_conditions_or_says_that_it_cannot(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue, tmp_path: Path
) -> None:
    secret = (await issue("http-connected", "snapshot:read"))["key"]
    paths = "/system/security/blocklist"
    rules = (
        {"type": "country", "value": "AQ"},
        {"type": "asn", "value": "64500"},
        {"type": "cel", "value": "request.user_agent.startsWith('scan') && request.path == '/orders'"},
    )
    for rule in rules:
        assert (await admin.post(paths, json=rule)).status_code == 201
    script, port = tmp_path / "application.py", free_port()
    script.write_text(APPLICATION)
    async with serving(plane.app) as place:
        environment = {
            **os.environ, "PLANE": f"http://{place}", "VALHALLA_API_KEY": secret, "PORT": str(port),
            "COUNTRY": "CF-IPCountry",
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(sys.executable, str(script), env=environment)
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as asks:

                async def becomes(status: int, **headers: str) -> None:
                    sent = {"X-Forwarded-For": "203.0.113.20"} | {k.replace("_", "-"): v for k, v in headers.items()}
                    async with asyncio.timeout(60):
                        while True:
                            try:
                                if (await asks.get("/orders", headers=sent)).status_code == status:
                                    return
                            except httpx.TransportError:
                                assert process.returncode is None
                            await asyncio.sleep(0.05)

                await becomes(403, cf_ipcountry="AQ")
                await becomes(403, user_agent="scanner/1")
                await becomes(200, cf_ipcountry="DE", user_agent="browser")

                async def seen(state: str) -> dict[str, Any]:
                    async with asyncio.timeout(60):
                        while True:
                            items = (await admin.get("/system/applications", params={"state": state})).json()["items"]
                            mine = [one for one in items if one["name"] == "shop" and one["state"] == state]
                            if mine:
                                return mine[0]
                            await asyncio.sleep(0.1)

                one = await seen("degraded")
                assert [(lack["what"], lack["rules"]) for lack in one["lacks"]] == [("asn", 1)]
                assert "asn_header" in one["lacks"][0]["why"]
                mine = (await asks.get("/health")).json()
                # without what it lacks: anybody may ask
                assert mine["status"] == "degraded"
                assert "asn" not in str(mine)
                plane.runtime.features.health.checks.forget()
                check = await admin.get("/readyz/applications")
                assert "shop on" in check.text, check.text
                assert "1 rules by asn" in check.text
                await admin.post(f"{paths}/unblock", json=rules[1])
                await seen("following")
                assert (await asks.get("/health")).json()["status"] == "ok"
                await admin.post(f"{paths}/unblock", json=rules[0])
                await becomes(200, cf_ipcountry="AQ")
        finally:
            process.terminate()
            await process.wait()
            for rule in rules:
                await admin.post(f"{paths}/unblock", json=rule)


async def test_the_blocklist_page_by_page_and_change_by_change(
    plane: Plane, admin: httpx.AsyncClient, machine: httpx.AsyncClient, team_a: httpx.AsyncClient
) -> None:
    pages = f"{SNAPSHOT}/blocklist"
    refused(await team_a.get(pages), 403, "forbidden")
    whole = (await machine.get(pages)).json()
    assert whole["known"]
    paths = "/system/security/blocklist"
    waiting = asyncio.create_task(machine.get(pages, params={"since": whole["revision"], "wait": 20}))
    await asyncio.sleep(0.05)
    assert (await admin.post(paths, json={"type": "ip", "value": "198.51.100.2"})).status_code == 201
    told = (await waiting).json()
    line = {"action": "block", "type": "ip", "value": "198.51.100.2", "until": told["rules"][0]["until"]}
    assert (told["rules"], told["known"], told["revision"]) == ([line], True, whole["revision"] + 1)
    await admin.post(f"{paths}/unblock", json={"type": "ip", "value": "198.51.100.2"})
    ended = (await machine.get(pages, params={"since": told["revision"]})).json()
    assert ended["rules"] == [{**line, "until": None}]
    assert not (await machine.get(pages, params={"since": ended["revision"] + 7})).json()["known"]
    nothing = (await machine.get(pages, params={"since": ended["revision"], "wait": 0.05})).json()
    assert (nothing["rules"], nothing["known"]) == ([], True)
