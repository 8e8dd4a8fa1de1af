"""Deployments and smoke tests over HTTP, with the job run by the plane's own worker."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

PREFIX = "/system/deployment"
SUITES = f"{PREFIX}/smoke/suites"
# declared for the plane of the tests; nobody listens there
NOBODY = "http://127.0.0.1:9"


async def test_a_deployment_with_a_smoke_test_from_start_to_verdict_to_alert(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue
) -> None:
    viewer = plane.client((await issue("watching", role="viewer"))["key"])
    made = await admin.post(PREFIX, json={"environment": "prod", "service": "shop", "version": "2.0", "start": True})
    assert (made.status_code, made.json()["status"]) == (201, "in_progress")
    here = made.headers["location"]
    assert (await viewer.get(here)).json()["id"] == made.json()["id"]
    refused(await viewer.post(PREFIX, json={"environment": "a", "service": "b", "version": "c"}), 403, "forbidden")

    body = {"base_url": NOBODY, "checks": [{"name": "alive", "path": "/live", "jsonpath": [{"path": "$.ok"}]}]}
    suite = await admin.put(f"{SUITES}/shop", json=body)
    assert suite.status_code == 201, suite.text
    assert suite.json()["checks"][0]["jsonpath"] == [{"path": "$.ok", "op": "exists", "value": None}]
    assert (await admin.patch(f"{SUITES}/shop", json={"concurrency": 2})).json()["concurrency"] == 2

    started = await admin.post(f"{SUITES}/shop/run", json={"deployment": made.json()["id"]})
    assert started.status_code == 202, started.text
    run = started.headers["location"]
    async with asyncio.timeout(30):
        while (found := (await viewer.get(run)).json())["finished_at"] is None:
            await asyncio.sleep(0.05)
    assert (found["status"], found["passed"], found["failed"], found["version"]) == ("failed", 0, 1, found["version"])
    assert [(one["name"], one["failures"][0]["what"]) for one in found["results"]] == [("alive", "connection")]
    listed = (await viewer.get(f"{PREFIX}/smoke/runs", params={"suite": "shop"})).json()
    assert [one["id"] for one in listed["items"]] == [found["id"]]

    problem = refused(await admin.post(f"{here}/transition", json={"to": "succeeded"}), 409, "deployment-smoke-failed")
    assert problem["run"] == found["id"]
    assert (await admin.post(f"{here}/transition", json={"to": "failed"})).json()["status"] == "failed"
    figures = (await viewer.get(f"{PREFIX}/dora", params={"service": "shop"})).json()
    assert (figures["failures"], figures["unrestored"]) == (1, 1)
    assert (await viewer.get(f"{PREFIX}/current", params={"environment": "prod"})).json()["items"] == []
    async with asyncio.timeout(30):
        while not (await admin.get("/system/alerts", params={"name": "smoke.failed"})).json()["items"]:
            await asyncio.sleep(0.05)
    assert (await admin.delete(f"{SUITES}/shop")).status_code == 204


async def test_a_failure_undoes_what_its_suite_declares_through_the_guard(
    admin: httpx.AsyncClient, plane: Plane, issue: Issue
) -> None:
    switch = {"variants": {"on": True, "off": False}, "defaultVariant": "on"}
    assert (await admin.post("/system/flags", json={"key": "smoked", **switch})).status_code == 201
    undo = {"action": "disable", "registry": "flags", "key": "smoked"}
    body = {"base_url": NOBODY, "checks": [{"name": "alive", "path": "/live"}], "on_failure": undo}
    assert (await admin.put(f"{SUITES}/undo", json=body)).status_code == 201
    order = {"arguments": {"suite": "undo"}, "reason": "a drill"}
    action = "/system/admin/actions/smoke.remedy"
    tester = plane.client((await issue("smoke-tester", "operations:write", "deployments:write"))["key"])

    trial = await admin.post(action, json=order, params={"dry_run": "true"})

    assert (trial.json()["status"], trial.json()["result"]["changed"]) == ("planned", 1)
    assert (await admin.get("/system/flags/smoked")).json()["killed"] is False
    refused(await tester.post(action, json=order), 403, "forbidden")
    refused(await admin.post(action, json={**order, "arguments": {"run": "x"}}), 404, "smoke-run-not-found")
    refused(await admin.post(action, json={**order, "arguments": {}}), 422, "invalid-request")

    first = await _ended(admin, await admin.post(f"{SUITES}/undo/run", json={}))
    assert first["remedy"] == {**undo, "revision": None, "done": True, "changed": 1, "now": first["remedy"]["now"]}
    assert (await admin.get("/system/flags/smoked")).json()["killed"] is True
    again = await admin.post(action, json={**order, "arguments": {"run": first["id"]}})
    assert again.json()["result"] == first["remedy"]
    told = (await admin.get("/system/admin/operations", params={"actor": "smoke:undo"})).json()["items"]
    assert [one["action"] for one in told] == ["admin.succeeded", "admin.requested"]
    assert told[1]["details"]["arguments"] == {"run": first["id"]}

    await admin.delete("/system/flags/smoked")
    second = await _ended(admin, await admin.post(f"{SUITES}/undo/run", json={}))
    assert (second["status"], second["remedy"]["done"]) == ("failed", False)
    [last, *_] = (await admin.get("/system/admin/operations", params={"actor": "smoke:undo"})).json()["items"]
    assert (last["action"], last["details"]["code"]) == ("admin.refused", second["remedy"]["code"])
    async with asyncio.timeout(30):
        while not (await admin.get("/system/alerts", params={"name": "smoke.remedy_failed"})).json()["items"]:
            await asyncio.sleep(0.05)
    assert (await admin.delete(f"{SUITES}/undo")).status_code == 204


async def _ended(admin: httpx.AsyncClient, started: httpx.Response) -> dict[str, Any]:
    assert started.status_code == 202, started.text
    async with asyncio.timeout(30):
        while (found := (await admin.get(started.headers["location"])).json())["finished_at"] is None:
            await asyncio.sleep(0.05)
    return found


async def test_what_is_refused_points_at_the_member(admin: httpx.AsyncClient) -> None:
    check = {"name": "a", "path": "/"}
    undeclared = await admin.put(f"{SUITES}/x", json={"base_url": "http://169.254.169.254", "checks": [check]})
    assert refused(undeclared, 422, "outgoing-target-refused")["errors"][0]["pointer"] == "/base_url"
    secret = {**check, "headers": {"Authorization": "Bearer abc"}}
    told = refused(
        await admin.put(f"{SUITES}/x", json={"base_url": NOBODY, "checks": [secret]}), 422, "smoke-bad-suite"
    )
    assert told["errors"][0]["pointer"] == "/checks/0/headers"
    refused(await admin.post(f"{SUITES}/x/run", json={}), 404, "smoke-suite-not-found")
    refused(await admin.get(f"{PREFIX}/smoke/runs/x"), 404, "smoke-run-not-found")
    refused(await admin.get(f"{PREFIX}/x"), 404, "deployment-not-found")
    odd = {"since": "0001-01-01T00:00:00+14:00"}
    assert [(await admin.get(f"{PREFIX}{path}", params=odd)).status_code for path in ("", "/dora")] == [422, 422]
    body = {"environment": "a", "service": "b", "version": "c", "rollback_of": "\x00"}
    refused(await admin.post(PREFIX, json=body), 404, "deployment-not-found")
    assert (await admin.put(f"{SUITES}/y", json={"base_url": NOBODY, "checks": [check]})).status_code == 201
    refused(await admin.post(f"{SUITES}/y/run", json={"deployment": "\x00"}), 404, "deployment-not-found")
    assert (await admin.delete(f"{SUITES}/y")).status_code == 204
