"""Policies and the security mode through the whole control plane."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

POLICIES = "/system/security/policies"
MODE = "/system/security/mode"
Put = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def put(plane: Plane, admin: httpx.AsyncClient) -> AsyncIterator[Put]:
    """Write policies that end with the test, as does the mode."""
    made: list[str] = []

    async def write(name: str, when: str, action: str, **more: Any) -> dict[str, Any]:
        made.append(name)
        answer = await admin.put(f"{POLICIES}/{name}", json={"when": when, "action": action, **more})
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    yield write
    (await admin.post(MODE, json={"mode": "normal", "reason": "the test is over"})).raise_for_status()
    for name in made:
        await admin.delete(f"{POLICIES}/{name}")


async def until(seen: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until there is something."""
    for _ in range(200):
        if found := await seen():
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come")


async def test_a_policy_refuses_from_the_answer_on_and_its_shadow_only_counts(
    plane: Plane, admin: httpx.AsyncClient, team_a: httpx.AsyncClient, put: Put
) -> None:
    when = 'request.method == "GET" && principal.owner == "http-a"'
    await put("t-shadow", when, "challenge", paths=["/api/templates*"], shadow=True)
    assert (await team_a.get("/api/templates")).status_code == 200
    await put("t-shut", when, "challenge", paths=["/api/templates*"])
    known = (await admin.get("/system/api-clients?owner=http-a")).json()["items"][0]
    asked = {"method": "GET", "path": "/api/templates", "key": known["id"]}
    foreseen = (await admin.get("/system/routes/match", params=asked)).json()
    assert "policy" in [one["by"] for one in foreseen["stops"]]
    problem = refused(await team_a.get("/api/templates"), 403, "policy-challenge")
    assert "t-shut" not in str(problem)
    assert (await admin.get("/api/templates")).status_code == 200
    assert (await team_a.get("/api/sandboxes")).status_code == 200

    usage = {one["name"]: one for one in (await admin.get(f"{POLICIES}/usage")).json()["items"]}
    assert (usage["t-shadow"]["shadowed"], usage["t-shadow"]["matched"]) == (2, 0)
    assert (usage["t-shut"]["shadowed"], usage["t-shut"]["matched"]) == (0, 1)


async def test_a_request_can_be_thought_through_with_a_draft(admin: httpx.AsyncClient, put: Put) -> None:
    await put("t-log", "true", "log", paths=["/thought"], priority=3)
    asked = {
        "path": "/thought",
        "counters": {"failed_auth": 7},
        "headers": {"X-Tool": "scanner"},
        "policy": {
            "when": 'counters.failed_auth > 5 && request.headers["x-tool"] == "scanner"',
            "action": "block",
            "paths": ["/thought"],
        },
    }
    found = (await admin.post(f"{POLICIES}/test", json=asked)).json()
    assert (found["outcome"], found["policy"], found["done"]) == ("block", "draft", ["t-log", "draft"])
    assert {"t-log", "draft"} <= {one["name"] for one in found["verdicts"] if one["matched"]}
    broken = {"path": "/", "policy": {"when": "nobody.knows == 1", "action": "log"}}
    refused(await admin.post(f"{POLICIES}/test", json=broken), 422, "policy-bad-condition")
    caught = {"caught": {"total": 40, "kind": "decoy_path"}}
    assert (await admin.post(f"{POLICIES}/test", json=caught)).json()["policy"] == "honeypots"


async def test_what_cannot_be_a_policy_is_refused_with_its_reason(admin: httpx.AsyncClient) -> None:
    for body in (
        {"when": "[1].all(a, [1].all(b, true))", "action": "log"},
        {"when": "true", "action": "challenge", "on": "honeypot"},
        {"when": "true", "action": "elevate", "duration": 1},
    ):
        answer = await admin.put(f"{POLICIES}/t-bad", json=body)
        assert answer.json()["code"].startswith("policy-bad"), answer.text
    refused(await admin.get(f"{POLICIES}/t-bad"), 404, "policy-not-found")


async def test_only_who_may_changes_policies_and_mode(plane: Plane, issue: Issue) -> None:
    reader = plane.client((await issue("policy-reader", "policies:read"))["key"])
    assert (await reader.get(POLICIES)).status_code == 200
    assert (await reader.get(MODE)).json()["mode"] in ("normal", "elevated", "lockdown")
    refused(await reader.put(f"{POLICIES}/x", json={"when": "true", "action": "log"}), 403, "forbidden")
    refused(await reader.post(MODE, json={"mode": "lockdown", "reason": "x"}), 403, "forbidden")


async def test_lockdown_lets_only_those_pass_who_can_end_it(
    plane: Plane, admin: httpx.AsyncClient, team_a: httpx.AsyncClient, put: Put
) -> None:
    before = (await admin.get(MODE)).json()
    assert before["mode"] == "normal"
    planned = (await admin.post(f"{MODE}?dry_run=true", json={"mode": "lockdown", "reason": "drill"})).json()
    assert planned["mode"] == "lockdown"
    assert (await team_a.get("/api/templates")).status_code == 200

    answer = await admin.post(MODE, json={"mode": "lockdown", "reason": "drill", "lasting_seconds": 120})
    assert (answer.json()["mode"], answer.json()["reason"]) == ("lockdown", "drill")
    refused(await team_a.get("/api/templates"), 403, "policy-challenge")
    refused(await plane.client().get("/api/templates"), 403, "policy-challenge")
    assert (await plane.client().get("/live")).status_code == 200
    assert (await plane.client().get("/ready")).status_code == 200
    stale = await admin.post(MODE, json={"mode": "normal", "reason": "x"}, headers={"If-Match": '"987654"'})
    assert stale.status_code == 412
    ended = await admin.post(
        MODE, json={"mode": "normal", "reason": "over"}, headers={"If-Match": answer.headers["etag"]}
    )
    assert ended.json()["mode"] == "normal"
    assert (await team_a.get("/api/templates")).status_code == 200
    history = (await admin.get(f"{MODE}/history?limit=2")).json()["items"]
    assert [one["mode"] for one in history] == ["normal", "lockdown"]
    refused(
        await admin.post(MODE, json={"mode": "normal", "reason": "x", "lasting_seconds": 60}), 422, "security-bad-mode"
    )


async def test_a_policy_raises_the_mode_and_says_so_once(
    plane: Plane, admin: httpx.AsyncClient, team_a: httpx.AsyncClient, put: Put
) -> None:
    await put("t-raise", 'request.query == "raise=1"', "elevate", paths=["/api/templates"], duration=600)
    for _ in range(5):
        assert (await team_a.get("/api/templates?raise=1")).status_code in (200, 422)

    async def raised() -> Any:
        found = (await admin.get(MODE)).json()
        return found if found["mode"] == "elevated" else None

    found = await until(raised)
    assert (found["actor"], "t-raise" in found["reason"]) == ("policy:t-raise", True)
    history = (await admin.get(f"{MODE}/history?limit=3")).json()["items"]
    assert [one["mode"] for one in history].count("elevated") == 1

    async def noted() -> bool:
        # right after the mode, not with it
        ledger = (await admin.get("/system/audit?kind=policy&limit=5")).json()["items"]
        return ("policy.elevated", "policy:t-raise") in {(one["action"], one["actor"]) for one in ledger}

    assert await until(noted)


async def test_wrong_keys_are_counted_whoever_claims_to_be_somebody_else(
    plane: Plane, admin: httpx.AsyncClient, put: Put
) -> None:
    await put("t-keys", "counters.failed_auth >= 3", "challenge", paths=["/t-counted/*"])
    address = "198.51.100.23"
    transport = httpx.ASGITransport(plane.app, raise_app_exceptions=False, client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://plane") as guesser:
        for number in range(3):
            lie = {"Authorization": "Bearer wrong", "X-Forwarded-For": f"192.0.2.{number}"}
            assert (await guesser.get("/api/sandboxes", headers=lie)).status_code == 401
        refused(await guesser.get("/t-counted/x", headers={"X-Forwarded-For": "192.0.2.9"}), 403, "policy-challenge")
    counts = plane.runtime.features.policies.counters.of(address)
    assert counts is not None
    assert (counts["failed_auth"], counts["failed_auth_hour"]) == (3, 3)
    assert plane.runtime.features.policies.counters.of("192.0.2.1") is None


async def test_a_held_caller_passes_once_somebody_else_has_approved(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue, put: Put
) -> None:
    await put("t-hold", 'principal.owner == "held-team"', "hold", paths=["/api/templates*"], duration=600)
    caller = plane.client((await issue("held-team", "sandbox:read"))["key"])
    for _ in range(3):
        refused(await caller.get("/api/templates"), 403, "policy-held")

    async def held() -> Any:
        items = (await admin.get("/system/holds?action=policy.pass")).json()["items"]
        return [one for one in items if "t-hold" in str(one)]

    [hold] = await until(held)
    (await admin.post(f"/system/holds/{hold['id']}/approve", json={"reason": "she may"})).raise_for_status()

    async def passes() -> bool:
        return (await caller.get("/api/templates")).status_code == 200

    assert await until(passes)
    refused(await plane.client().get("/api/templates"), 401, "unauthenticated")
