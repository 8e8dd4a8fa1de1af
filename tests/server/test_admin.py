"""The admin API: the overview, actions through the guard, approvals, and their audit."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import jsonschema_rs
import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

from valhalla.kernel.scopes import SCOPES
from valhalla.work.loops import place_of

PATH = "/system/admin"
SECONDS = 20


async def order(
    client: httpx.AsyncClient,
    action: str,
    /,
    *,
    why: str = "a test",
    once: str | None = None,
    dry_run: bool = False,
    **of: Any,
) -> httpx.Response:
    headers = {} if once is None else {"Idempotency-Key": once}
    params = {"dry_run": True} if dry_run else {}
    return await client.post(
        f"{PATH}/actions/{action}", json={"arguments": of, "reason": why}, headers=headers, params=params
    )


async def steps(client: httpx.AsyncClient, operation: str) -> list[str]:
    found = (await client.get(f"{PATH}/operations", params={"operation": operation})).json()["items"]
    assert {one["kind"] for one in found} <= {"admin_operation"}
    return [one["action"] for one in reversed(found)]


async def stops(client: httpx.AsyncClient, method: str, path: str, **of: str) -> list[dict[str, Any]]:
    """What the index of routes says would stop a request."""
    found = await client.get("/system/routes/match", params={"method": method, "path": path, **of})
    return found.json()["stops"]


async def test_the_overview(admin: httpx.AsyncClient, issue: Issue) -> None:
    ending = await issue("admin-ending", "jobs:read", expires_at="2999-01-01T00:00:00Z")

    found = (await admin.get(PATH)).json()

    assert found["mode"]["mode"] == "normal"
    assert not found["stale"]
    assert {"phase", "ready", "failing"} <= found["health"].keys()
    assert isinstance(found["holds"], int)
    assert found["changes"]
    assert [one["at"] for one in found["changes"]] == sorted((one["at"] for one in found["changes"]), reverse=True)
    assert ending["id"] not in {one["id"] for one in found["expiring_keys"]}


async def test_the_catalogue(admin: httpx.AsyncClient) -> None:
    found = (await admin.get(f"{PATH}/actions")).json()["items"]

    assert {"key.revoke", "maintenance.set-mode", "flag.kill", "jobs.retry-dead"} <= {one["name"] for one in found}
    for one in found:
        jsonschema_rs.meta.validate(one["arguments"])
        assert one["scope"] in SCOPES
        assert (await admin.get(f"{PATH}/actions/{one['name']}")).json() == one


async def test_a_key_is_revoked_and_the_ledger_knows(plane: Plane, admin: httpx.AsyncClient, issue: Issue) -> None:
    victim = await issue("admin-victim", "sandbox:read")

    plan = await order(admin, "key.revoke", id=victim["id"], dry_run=True)
    assert (plan.status_code, plan.json()["status"]) == (200, "planned")
    assert (await plane.client(victim["key"]).get("/api/sandboxes")).status_code == 200
    assert await steps(admin, plan.json()["operation"]) == []

    done = await order(admin, "key.revoke", id=victim["id"], why="it leaked")

    assert (done.status_code, done.json()["status"]) == (200, "succeeded")
    assert done.json()["result"] == {"revoked": [victim["id"]]}
    assert (await plane.client(victim["key"]).get("/api/sandboxes")).status_code == 401
    assert await steps(admin, done.json()["operation"]) == ["admin.requested", "admin.succeeded"]


async def test_once_per_key(admin: httpx.AsyncClient, issue: Issue) -> None:
    victim = await issue("admin-once", "sandbox:read")

    first = await order(admin, "key.revoke", id=victim["id"], once="once-1")
    again = await order(admin, "key.revoke", id=victim["id"], once="once-1", why="the same")

    assert (first.json()["status"], again.json()["status"]) == ("succeeded", "replayed")
    assert again.json()["result"] == first.json()["result"]
    refused(await order(admin, "key.revoke", id="another", once="once-1"), 422, "guard-key-reuse")


async def test_what_is_refused(admin: httpx.AsyncClient, plane: Plane, issue: Issue) -> None:
    refused(await order(admin, "no.such"), 404, "unknown-admin-action")
    problem = refused(await order(admin, "key.revoke", ident="x"), 422, "invalid-request")
    assert problem["errors"]
    refused(await order(admin, "key.revoke", id=7), 422, "invalid-request")
    refused(await order(admin, "key.revoke", id="x", why=""), 422, "invalid-request")
    missing = await order(admin, "flag.kill", key="no-such-flag")
    assert missing.status_code == 404
    assert (await order(admin, "smoke.run", suite="none")).status_code == 404
    [last, *_] = (await admin.get(f"{PATH}/operations", params={"step": "refused", "limit": 1})).json()["items"]
    assert last["details"]["action"] == "smoke.run"
    only = plane.client((await issue("admin-only", "operations:write"))["key"])
    refused(await order(only, "key.revoke", id="x"), 403, "forbidden")
    reader = plane.client((await issue("admin-reader", "operations:read", "keys:write"))["key"])
    refused(await order(reader, "key.revoke", id="x"), 403, "forbidden")


async def test_what_somebody_else_must_approve(plane: Plane, admin: httpx.AsyncClient, issue: Issue) -> None:
    first, second = await issue("admin-team", "sandbox:read"), await issue("admin-team", "sandbox:read")
    asker = plane.client((await issue("admin-asker", "admin"))["key"])
    plan = await order(asker, "key.revoke-owner", owner="admin-team", dry_run=True)
    assert plan.json()["result"] == {"revoked": sorted([first["id"], second["id"]])}

    held = await order(asker, "key.revoke-owner", owner="admin-team")

    assert (held.status_code, held.json()["status"], held.json()["result"]) == (202, "held", None)
    hold = held.headers["location"]
    refused(await asker.post(f"{hold}/approve", json={}), 403, "guard-not-an-approver")
    assert (await plane.client(first["key"]).get("/api/sandboxes")).status_code == 200

    assert (await admin.post(f"{hold}/approve", json={"reason": "yes"})).status_code == 200
    async with asyncio.timeout(SECONDS):
        while (await plane.client(second["key"]).get("/api/sandboxes")).status_code == 200:
            await plane.runtime.features.admin.service.executor.execute_approved()
    operation = held.json()["operation"]
    async with asyncio.timeout(SECONDS):
        while (found := await steps(admin, operation))[-1] != "admin.succeeded":
            await asyncio.sleep(0.02)
    assert found == ["admin.requested", "admin.held", "admin.succeeded"]


async def test_who_lost_the_right_before_the_approval(plane: Plane, admin: httpx.AsyncClient, issue: Issue) -> None:
    victim = await issue("admin-kept", "sandbox:read")
    asker = await issue("admin-gone", "admin")
    held = await order(plane.client(asker["key"]), "key.revoke-owner", owner="admin-kept")
    assert (await admin.delete(f"/system/api-clients/{asker['id']}")).status_code == 204

    assert (await admin.post(f"{held.headers['location']}/approve", json={})).status_code == 200

    async with asyncio.timeout(SECONDS):
        while (await admin.get(held.headers["location"])).json()["state"] in ("approved", "executing"):
            await plane.runtime.features.admin.service.executor.execute_approved()
    assert (await admin.get(held.headers["location"])).json()["state"] == "failed"
    assert (await plane.client(victim["key"]).get("/api/sandboxes")).status_code == 200


async def test_the_mode_is_set_and_opened_again(admin: httpx.AsyncClient) -> None:
    closed = await order(admin, "maintenance.set-mode", mode="read_only", why="a drill")
    try:
        assert closed.json()["status"] == "succeeded", closed.text
        assert (await admin.get(PATH)).json()["mode"] == {"mode": "read_only", "reason": "a drill", "until": None}
        [stop] = await stops(admin, "POST", "/api/sandboxes")
        assert (stop["by"], stop["status"]) == ("maintenance", 503)
        assert await stops(admin, "GET", "/api/sandboxes") == []
    finally:
        opened = await order(admin, "maintenance.set-mode", mode="normal", why="over")
    assert opened.status_code == 200, opened.text
    assert (await admin.get(PATH)).json()["mode"]["mode"] == "normal"


async def test_somebody_is_kept_out_and_let_in_again(plane: Plane, admin: httpx.AsyncClient, issue: Issue) -> None:
    victim = await issue("admin-blocked", "sandbox:read")
    entity = {"type": "api_key", "value": victim["id"]}
    guest = plane.client(victim["key"])

    plan = await order(admin, "entity.block", **entity, dry_run=True)
    assert (plan.json()["status"], plan.json()["result"]["changed"]) == ("planned", True), plan.text
    assert (await guest.get("/api/sandboxes")).status_code == 200

    done = await order(admin, "entity.block", **entity, seconds=600, why="it scans")
    try:
        assert done.json()["result"]["changed"] is True, done.text
        assert (await guest.get("/api/sandboxes")).status_code == 403
        assert [one["by"] for one in await stops(admin, "GET", "/api/sandboxes", key=victim["id"])] == ["blocklist"]
        again = await order(admin, "entity.block", **entity, seconds=60)
        assert again.json()["result"]["changed"] is False
        assert await steps(admin, done.json()["operation"]) == ["admin.requested", "admin.succeeded"]
    finally:
        lifted = await order(admin, "entity.unblock", **entity)
    assert lifted.json()["result"]["changed"] is True
    assert (await guest.get("/api/sandboxes")).status_code == 200
    assert (await order(admin, "entity.unblock", **entity)).json()["result"]["changed"] is False
    assert (await order(admin, "entity.block", type="cidr", value="0.0.0.0/0")).status_code == 422
    refused(await order(admin, "entity.block", type="cel", value="true"), 422, "invalid-request")
    only = plane.client((await issue("admin-no-blocks", "operations:write"))["key"])
    refused(await order(only, "entity.block", **entity), 403, "forbidden")


@pytest.mark.slow
async def test_the_own_worker_is_drained_and_resumed(plane: Plane, admin: httpx.AsyncClient) -> None:
    worker = plane.runtime.work.worker
    assert worker is not None
    name = f"worker.{place_of(plane.runtime.settings.data_dir)}"
    plan = await order(admin, "worker.drain", worker=name, dry_run=True)
    assert plan.json()["result"] == {"worker": name}
    refused(await order(admin, "worker.drain", worker="worker.of.nobody"), 404, "no-such-heartbeat")
    refused(await order(admin, "worker.drain", worker="backup"), 422, "invalid-request")

    done = await order(admin, "worker.drain", worker=name, why="a new disk")
    try:
        assert done.json()["result"]["reason"] == "a new disk", done.text
        async with asyncio.timeout(SECONDS):
            while not worker.status()["draining"]:
                await asyncio.sleep(0.02)
            while (await order(admin, "worker.drain", worker=name, dry_run=True)).json()["result"][
                "drained_at"
            ] is None:
                await asyncio.sleep(0.1)
        async with asyncio.timeout(SECONDS):
            # what is counted is kept for two seconds
            while [one["worker"] for one in (await admin.get(PATH)).json()["draining"]] != [name]:
                await asyncio.sleep(0.1)
    finally:
        resumed = await order(admin, "worker.resume", worker=name)
    assert resumed.json()["result"] == {"worker": name, "was_drained": True}
    async with asyncio.timeout(SECONDS):
        while worker.status()["draining"]:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("enabled", [False, True])
async def test_a_limit_is_switched(admin: httpx.AsyncClient, enabled: bool) -> None:
    rule = {"name": f"admin-{enabled}", "rate": "1000/s", "enabled": not enabled, "shadow": True}
    assert (await admin.post("/system/rate-limits", json=rule)).status_code == 201

    done = await order(admin, "limit.switch", name=rule["name"], enabled=enabled)

    assert done.json()["status"] == "succeeded", done.text
    assert (await admin.get(f"/system/rate-limits/{rule['name']}")).json()["enabled"] is enabled
    await admin.delete(f"/system/rate-limits/{rule['name']}")
