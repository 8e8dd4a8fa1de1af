"""Rate limits over HTTP: enforced, told in headers, explained, and never a way to shut the operator out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

LIMITS = "/system/rate-limits"


@pytest.fixture
async def rules(admin: httpx.AsyncClient) -> AsyncIterator[Callable[..., Any]]:
    """Make rules that end with the test; each counts one owner's keys only, or the other tests would meet it."""
    made: list[str] = []

    async def make(name: str, owner: str, **members: Any) -> dict[str, Any]:
        body = {"name": name, "scope": "principal", "subjects": [owner], "kind": "exact", **members}
        answer = await admin.post(LIMITS, json=body)
        assert answer.status_code == 201, answer.text
        made.append(name)
        return answer.json()

    yield make
    for name in made:
        await admin.delete(f"{LIMITS}/{name}")


async def test_a_rule_is_enforced_when_its_creation_answers(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue, rules: Callable[..., Any]
) -> None:
    client = plane.client((await issue("limited", "sandbox:read"))["key"])
    await rules("t-two", "limited", rate="2/minute")

    first = await client.get("/api/sandboxes")
    assert first.headers["ratelimit-policy"] == '"t-two";q=2;w=60'
    assert first.headers["ratelimit"].startswith('"t-two";r=1;t=')
    await client.get("/api/sandboxes")
    over = await client.get("/api/sandboxes")
    problem = refused(over, 429, "quota-exceeded")
    assert problem["limit"] == "t-two"
    assert 0 < int(over.headers["retry-after"]) <= 60
    assert over.headers["ratelimit"].startswith('"t-two";r=0')

    body = {"path": "/api/sandboxes", "owner": "limited"}
    said = (await admin.post(f"{LIMITS}/test", json=body)).json()
    assert said["allowed"] is False
    usage = (await admin.get(f"{LIMITS}/usage")).json()
    [mine] = [item for item in usage["items"] if item["name"] == "t-two"]
    assert (mine["taken"], mine["refused"], mine["top"]) == (2, 1, [{"subject": "limited", "taken": 2, "refused": 1}])

    assert (await admin.patch(f"{LIMITS}/t-two", json={"rate": "3/minute"})).status_code == 200
    assert [(await client.get("/api/sandboxes")).status_code for _ in range(2)] == [200, 429]
    assert (await admin.patch(f"{LIMITS}/t-two", json={"shadow": True})).status_code == 200
    assert (await client.get("/api/sandboxes")).status_code == 200


async def test_a_keys_own_limits(plane: Plane, issue: Issue) -> None:
    client = plane.client((await issue("own-limit", "sandbox:read", limits=["4/minute"]))["key"])

    assert [(await client.get("/api/sandboxes")).status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("rate", ["-1/minute", "0/minute", "1000000001/day", "10", "", "1e3/s"])
async def test_rates_nobody_could_mean(admin: httpx.AsyncClient, rate: str) -> None:
    refused(await admin.post(LIMITS, json={"name": "t-bad", "rate": rate}), 422, "limit-bad-rule")


async def test_who_may_change_limits_can_take_back_one_that_shuts_everybody_out(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue, rules: Callable[..., Any]
) -> None:
    operator = plane.client((await issue("shut-out", role="operator"))["key"])
    await rules("t-shut", "shut-out", rate="1/day")
    await operator.get("/api/sandboxes")

    refused(await operator.get("/api/sandboxes"), 429, "quota-exceeded")
    assert (await operator.delete(f"{LIMITS}/t-shut")).status_code == 204
    assert (await operator.get("/api/sandboxes")).status_code == 200
    assert (await operator.post(f"{LIMITS}/t-shut/rollback", json={"to_revision": 0})).status_code == 200
