"""CrowdSec's API: what bouncers pull, field by field, every change once."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from tests.server.blocklist import PATH, block, caller
from tests.server.conftest import Issue
from tests.server.crowdsec.protocol import pull, values
from tests.server.plane import Plane


async def test_who_has_no_key_hears_it_in_the_words_of_the_protocol(plane: Plane, issue: Issue) -> None:
    weak = (await issue("weak", "sandbox:read"))["key"]
    async with caller(plane, "198.18.2.1") as client:
        for headers in ({}, {"X-Api-Key": "nonsense"}, {"X-Api-Key": weak}):
            answer = await client.get("/v1/decisions", headers=headers)
            assert (answer.status_code, answer.json()) == (403, {"message": "access forbidden"})
        answer = await client.post("/v1/alerts", json=[])
        assert answer.status_code == 401
        assert answer.json()["code"] == 401
        wrong = {"machine_id": "web-1", "password": weak}
        answer = await client.post("/v1/watchers/login", json=wrong)
        assert (answer.status_code, answer.json()["message"]) == (401, "incorrect Username or Password")
        assert (await client.get("/v1/heartbeat", headers={"Authorization": "Bearer eyJh.eyJ9.x"})).status_code == 401


async def test_a_token_is_for_this_api_alone_and_ends_with_its_key(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue
) -> None:
    issued = await issue("agents", "blocklist:write", "sandbox:write")
    async with caller(plane, "198.18.1.2") as client:
        login = {"machine_id": "a machine", "password": issued["key"]}
        token = (await client.post("/v1/watchers/login", json=login)).json()["token"]
        client.headers["Authorization"] = f"Bearer {token}"
        assert (await client.get("/v1/heartbeat")).status_code == 200
        assert (await client.get("/v1/refresh_token")).json()["code"] == 200
        assert (await client.get("/api/sandboxes")).status_code == 403
        assert (await admin.delete(f"/system/api-clients/{issued['id']}")).status_code == 204
        assert (await client.get("/v1/heartbeat")).status_code == 401


async def test_a_decision_has_the_protocols_members(
    admin: httpx.AsyncClient,
    bouncer: httpx.AsyncClient,
    rules: str,
) -> None:
    assert (await bouncer.get("/v1/decisions", params={"ip": "192.0.2.50"})).text == "null"
    made = await block(admin, "cidr", "192.0.2.48/28", reason="guessing", source="lists:x")
    (found,) = (await bouncer.get("/v1/decisions", params={"ip": "192.0.2.50"})).json()
    assert found == {
        "id": made["version"],
        "origin": "lists:x",
        "type": "ban",
        "scope": "Range",
        "value": "192.0.2.48/28",
        "duration": found["duration"],
        "scenario": "guessing",
    }
    assert found["duration"].endswith("s")
    for query, count in (
        ({"range": "192.0.2.50/31"}, 1),
        ({"range": "192.0.2.0/24"}, 0),
        ({"range": "192.0.2.0/24", "contains": "false"}, 1),
        ({"ip": "192.0.2.50", "scopes": "ip"}, 0),
        ({"ip": "192.0.2.50", "type": "captcha"}, 0),
        ({"ip": "192.0.2.50", "unknown": "ignored"}, 1),
        ({"value": "192.0.2.48/28"}, 1),
        ({"scope": "Range", "origins": "lists:x", "limit": "1"}, 1),
        ({"origins": "lists:x", "scenarios_not_containing": "guess"}, 0),
    ):
        answer = (await bouncer.get("/v1/decisions", params=query)).json()
        assert len(answer or []) == count, query
    bad = await bouncer.get("/v1/decisions", params={"ip": "nonsense"})
    assert bad.status_code == 400
    assert bad.json()["message"].startswith("unable to convert")


async def test_each_bouncer_is_told_every_change_once(
    admin: httpx.AsyncClient,
    bouncer: httpx.AsyncClient,
    plane: Plane,
    rules: str,
) -> None:
    await block(admin, "ip", "192.0.2.101")
    other = caller(plane, "198.18.3.1", **{k: v for k, v in bouncer.headers.items() if k == "x-api-key"})
    assert await pull(bouncer, startup="true") == ({"192.0.2.101"}, set())
    assert await pull(bouncer) == (set(), set())

    await block(admin, "ip", "192.0.2.102")
    await block(admin, "country", "KP")
    await block(admin, "ip", "2001:db8::5")
    # another one's pull, and a look, move nobody's cursor
    assert await pull(other, startup="true") == ({"192.0.2.101", "192.0.2.102", "2001:db8::5"}, set())
    assert (await bouncer.head("/v1/decisions/stream")).status_code == 200
    answer = (await bouncer.get("/v1/decisions/stream")).json()
    assert values(answer["new"]) == {"192.0.2.102", "2001:db8::5"}
    assert answer["deleted"] == []
    assert await pull(bouncer) == (set(), set())

    await admin.post(f"{rules}/unblock", json={"type": "ip", "value": "192.0.2.101"})
    await admin.post(f"{rules}/unblock", json={"type": "ip", "value": "192.0.2.102"})
    await block(admin, "ip", "192.0.2.102", remediation="captcha")
    await block(admin, "ip", "192.0.2.103")
    await admin.post(f"{rules}/unblock", json={"type": "ip", "value": "192.0.2.103"})
    await block(admin, "ip", "2001:db8::5")
    for one in (bouncer, other):
        new, deleted = await pull(one)
        assert new == {"192.0.2.102"}
        assert deleted >= {"192.0.2.101"}
        assert "192.0.2.102" not in deleted
        assert await pull(one) == (set(), set())
    await other.aclose()
    seen = (await admin.get("/system/security/crowdsec/bouncers")).json()["items"]
    assert seen == [] or all(one["behind"] is None or one["behind"] >= 0 for one in seen)


async def test_a_cursor_outlives_the_process_that_told(
    admin: httpx.AsyncClient,
    bouncer: httpx.AsyncClient,
    plane: Plane,
    rules: str,
) -> None:
    cursors = plane.runtime.features.crowdsec.cursors
    await pull(bouncer, startup="true")
    await cursors.flush()
    cursors._told.clear()  # pyright: ignore[reportPrivateUsage]
    await block(admin, "ip", "192.0.2.110")
    assert await pull(bouncer) == ({"192.0.2.110"}, set())
    # an answer that was not taken is told again
    cursors._told.clear()  # pyright: ignore[reportPrivateUsage]
    cursors._waiting.clear()  # pyright: ignore[reportPrivateUsage]
    assert await pull(bouncer) == ({"192.0.2.110"}, set())


async def test_what_is_allowed_ends_at_bouncers_and_comes_back(
    admin: httpx.AsyncClient,
    bouncer: httpx.AsyncClient,
    agent: httpx.AsyncClient,
    rules: str,
) -> None:
    await block(admin, "ip", "198.51.100.1")
    await block(admin, "cidr", "198.51.100.64/26")
    assert await pull(bouncer, startup="true") == ({"198.51.100.1", "198.51.100.64/26"}, set())
    await block(admin, "cidr", "198.51.100.0/24", action="allow", reason="office")
    assert await pull(bouncer) == (set(), {"198.51.100.1", "198.51.100.64/26"})
    assert await pull(bouncer, startup="true") == (set(), set())
    assert (await bouncer.get("/v1/decisions", params={"ip": "198.51.100.1"})).text == "null"
    check = await agent.get("/v1/allowlists/check/198.51.100.7")
    assert check.json() == {"allowlisted": True, "reason": "198.51.100.0/24 from valhalla"}
    assert (await agent.head("/v1/allowlists/check/198.51.100.7")).status_code == 200
    assert (await agent.head("/v1/allowlists/check/203.0.113.7")).status_code == 204
    (listed,) = (await agent.get("/v1/allowlists", params={"with_content": "true"})).json()
    assert [item["value"] for item in listed["items"]] == ["198.51.100.0/24"]
    await admin.delete(f"{rules}/allow:cidr:198.51.100.0/24")
    assert await pull(bouncer) == ({"198.51.100.1", "198.51.100.64/26"}, set())


@pytest.mark.slow
async def test_bouncers_that_pull_while_rules_change_end_with_what_holds(
    plane: Plane,
    admin: httpx.AsyncClient,
    issue: Issue,
    rules: str,
) -> None:
    key = (await issue("bouncers", "bouncer"))["key"]
    stop = asyncio.Event()

    async def follow(address: str) -> set[str]:
        held: set[str] = set()
        async with caller(plane, address, **{"X-Api-Key": key}) as client:
            new, _ = await pull(client, startup="true")
            held |= new
            while not stop.is_set():
                new, deleted = await pull(client)
                held = (held - deleted) | new
                await asyncio.sleep(0.001)
            new, deleted = await pull(client)
            return (held - deleted) | new

    followers = [asyncio.create_task(follow(f"198.18.4.{n}")) for n in range(1, 6)]
    for turn in range(150):
        value = f"192.0.2.{turn % 40}"
        if turn % 3:
            await block(admin, "ip", value, reason=str(turn))
        else:
            await admin.post(f"{PATH}/unblock", json={"type": "ip", "value": value})
    stop.set()
    ended = await asyncio.gather(*followers)
    holds = {f"192.0.2.{n}" for n in range(40)} & set(
        await plane.runtime.db.read(lambda conn: [r.value.value for r in _registry(plane).load(conn)[1]])
    )
    assert all(one == holds for one in ended)


def _registry(plane: Plane) -> Any:
    return plane.runtime.features.blocklist.service.registry
