"""CrowdSec's API: what bouncers pull and agents report, field by field."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.server.blocklist import PATH, block, caller
from tests.server.conftest import Issue
from tests.server.plane import Plane

_octets = itertools.count(1)


@pytest.fixture
async def bouncer(plane: Plane, issue: Issue) -> AsyncIterator[httpx.AsyncClient]:
    """A bouncer of its own address, as each test's must be."""
    key = (await issue("bouncers", "bouncer"))["key"]
    transport = httpx.ASGITransport(plane.app, client=(f"198.18.0.{next(_octets)}", 1))
    headers = {"X-Api-Key": key, "User-Agent": "test-bouncer/v1.0"}
    async with httpx.AsyncClient(transport=transport, base_url="http://plane", headers=headers) as client:
        yield client


@pytest.fixture
async def agent(plane: Plane, issue: Issue) -> AsyncIterator[httpx.AsyncClient]:
    """An agent that has logged in."""
    key = (await issue("agents", "blocklist:write"))["key"]
    async with caller(plane, "198.18.1.1") as client:
        answer = await client.post("/v1/watchers/login", json={"machine_id": "web-1", "password": key, "scenarios": []})
        assert answer.status_code == 200, answer.text
        assert answer.json().keys() == {"code", "expire", "token"}
        client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        yield client


def values(decisions: list[dict[str, Any]]) -> set[str]:
    """Those of the addresses that these tests use."""
    mine = ("192.0.2.", "2001:db8:", "198.51.100.")
    return {one["value"] for one in decisions if one["value"].startswith(mine)}


async def pull(bouncer: httpx.AsyncClient, **query: Any) -> tuple[set[str], set[str]]:
    answer = await bouncer.get("/v1/decisions/stream", params={"startup": "false", **query})
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"new", "deleted"}
    return values(answer.json()["new"]), values(answer.json()["deleted"])


def alert(*decisions: dict[str, Any], **members: Any) -> dict[str, Any]:
    common = {"scenario": "crowdsecurity/ssh-bf", "scenario_hash": "x", "scenario_version": "0.1", "message": "m"}
    counts = {"events_count": 6, "capacity": 5, "leakspeed": "10s", "simulated": False, "events": []}
    times = {"start_at": "2026-11-21T10:00:00Z", "stop_at": "2026-11-21T10:00:10Z"}
    source = {"source": {"scope": "Ip", "value": "192.0.2.9", "ip": "192.0.2.9"}}
    return {**common, **counts, **times, **source, "decisions": list(decisions), **members}


def ban(value: str, scope: str = "Ip", **members: Any) -> dict[str, Any]:
    common = {"origin": "crowdsec", "type": "ban", "duration": "4h", "scenario": "crowdsecurity/ssh-bf"}
    return {**common, "scope": scope, "value": value, **members}


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


async def test_an_agent_blocks_with_its_alerts_and_takes_back(
    plane: Plane,
    admin: httpx.AsyncClient,
    bouncer: httpx.AsyncClient,
    agent: httpx.AsyncClient,
    rules: str,
) -> None:
    await pull(bouncer, startup="true")
    reported = alert(
        ban("::ffff:192.0.2.9"),
        ban("192.0.2.130/25", "Range", type="captcha"),
        ban("someone", "username"),
        ban("0.0.0.0/0", "Range"),
        ban("192.0.2.77", duration="-1s"),
        ban("198.18.1.1"),
    )
    answer = await agent.post("/v1/alerts", json=[reported, alert(ban("192.0.2.10"), simulated=True)])
    assert answer.status_code == 201
    numbers = answer.json()
    assert len(numbers) == 2
    assert all(isinstance(number, str) for number in numbers)
    assert await pull(bouncer) == ({"192.0.2.9", "192.0.2.128/25"}, set())
    rule = (await admin.get(f"{rules}/ip:192.0.2.9")).json()
    assert (rule["reason"], rule["source"], rule["severity"]) == ("crowdsecurity/ssh-bf", "crowdsec", "error")
    async with caller(plane, "192.0.2.9") as client:
        assert (await client.get("/system/info")).status_code == 403

    one = (await agent.get(f"/v1/alerts/{numbers[0]}")).json()
    assert (one["id"], one["machine_id"], len(one["decisions"])) == (int(numbers[0]), "web-1", 2)
    assert [each["id"] for each in (await agent.get("/v1/alerts", params={"ip": "192.0.2.9"})).json()][:2] == [
        int(number) for number in reversed(numbers)
    ]
    refused = await agent.request("DELETE", "/v1/decisions", params={"colour": "red"})
    assert refused.json()["message"] == "'colour' doesn't exist: invalid filter"
    gone = await agent.request("DELETE", "/v1/decisions", params={"ip": "192.0.2.9"})
    assert gone.json() == {"nbDeleted": "1"}
    (left,) = (await bouncer.get("/v1/decisions", params={"value": "192.0.2.128/25"})).json()
    assert (await agent.delete(f"/v1/decisions/{left['id']}")).json() == {"nbDeleted": "1"}
    assert (await agent.delete(f"/v1/decisions/{left['id']}")).status_code == 404
    assert await pull(bouncer) == (set(), {"192.0.2.9", "192.0.2.128/25"})
    assert (await agent.get("/v1/alerts/x")).json()["message"] == "alert_id must be valid integer"
    assert (await agent.delete(f"/v1/alerts/{numbers[0]}")).json() == {"nbDeleted": "1"}
    lame = await agent.post("/v1/alerts", json=[{"scenario": "x"}])
    assert (lame.status_code, "in body is required" in lame.text) == (400, True)


async def test_who_is_only_told_of_is_blocked_as_the_stock_profiles_do(
    admin: httpx.AsyncClient,
    agent: httpx.AsyncClient,
    rules: str,
) -> None:
    about: dict[str, Any] = {"source": {"scope": "Ip", "value": "192.0.2.140"}, "decisions": None}
    await agent.post("/v1/alerts", json=[alert(**about), alert(**about, remediation=True, simulated=True)])
    assert (await admin.get(f"{rules}/ip:192.0.2.140")).status_code == 404
    await agent.post("/v1/alerts", json=[alert(**about, remediation=True)])
    rule = (await admin.get(f"{rules}/ip:192.0.2.140")).json()
    lasts = datetime.fromisoformat(rule["expires_at"]) - datetime.now(UTC)
    assert (rule["reason"], rule["source"]) == ("crowdsecurity/ssh-bf", "crowdsec")
    assert timedelta(hours=3) < lasts < timedelta(hours=5)


async def test_alerts_are_found_and_removed_by_filters_that_are_understood(
    agent: httpx.AsyncClient,
    rules: str,
) -> None:
    wide = {"source": {"scope": "Range", "value": "192.0.2.161/27"}}
    captcha = ban("192.0.2.160/27", "Range", type="captcha", origin="lists")
    sent = [alert(ban("192.0.2.150"), source={"scope": "Ip", "value": "192.0.2.150"}), alert(captcha, **wide)]
    one, two = (int(number) for number in (await agent.post("/v1/alerts", json=sent)).json())

    async def found(**query: str) -> set[int]:
        answer = await agent.get("/v1/alerts", params=query)
        assert answer.status_code == 200, answer.text
        return {each["id"] for each in answer.json()} & {one, two}

    assert await found() == {one, two}
    assert await found(ip="192.0.2.150") == {one}
    assert await found(ip="192.0.2.170") == {two}
    assert await found(range="192.0.2.128/25", contains="false") == {one, two}
    assert await found(range="192.0.2.128/25") == set()
    assert await found(decision_type="captcha") == await found(origin="lists") == {two}
    assert await found(since="1h") == await found(has_active_decision="true", simulated="false") == {one, two}
    assert await found(until="1h") == await found(has_active_decision="false") == set()
    for query in ({"colour": "red"}, {"since": "x"}, {"has_active_decision": "maybe"}, {"ip": "x"}):
        for method in ("GET", "DELETE"):
            assert (await agent.request(method, "/v1/alerts", params=query)).status_code == 400, query
    assert await found() == {one, two}
    assert (await agent.delete(f"/v1/alerts/{one}")).status_code == 200
    assert (await agent.delete(f"/v1/alerts/{one}")).status_code == 404


async def test_what_an_alert_blocked_ends_with_it(
    admin: httpx.AsyncClient,
    bouncer: httpx.AsyncClient,
    agent: httpx.AsyncClient,
    rules: str,
) -> None:
    await admin.post(rules, json={"type": "ip", "value": "192.0.2.172", "reason": "an operator's, and longer"})
    await pull(bouncer, startup="true")
    values = ("192.0.2.170", "192.0.2.171", "192.0.2.172")
    sent = [alert(*map(ban, values)), alert(ban(values[1]), source={"scope": "Ip", "value": values[1]})]
    one, two = (await agent.post("/v1/alerts", json=sent)).json()
    # the operator's has become worse by the agent's word, and is still the operator's
    assert await pull(bouncer) == (set(values), set())
    assert (await agent.delete(f"/v1/alerts/{one}")).json() == {"nbDeleted": "1"}
    # the second alert blocked one of them too, and the last is not the agent's
    assert await pull(bouncer) == (set(), {"192.0.2.170"})
    history = (await admin.get(f"{rules}/ip:192.0.2.170/history")).json()["items"]
    assert history[0]["reason"] == "the alert was removed"
    assert (await agent.delete("/v1/alerts", params={"value": "192.0.2.171"})).json() == {"nbDeleted": "1"}
    assert await pull(bouncer) == (set(), {"192.0.2.171"})
    # what an operator has written since is theirs
    (three,) = (await agent.post("/v1/alerts", json=[alert(ban(values[0]))])).json()
    await admin.post(rules, json={"type": "ip", "value": values[0], "reason": "an operator's now"})
    assert (await agent.delete(f"/v1/alerts/{three}")).json() == {"nbDeleted": "1"}
    assert await pull(bouncer) == ({values[0]}, set())
    assert (await agent.delete(f"/v1/alerts/{two}")).status_code == 404


async def test_metrics_and_heartbeats_are_kept(
    admin: httpx.AsyncClient, bouncer: httpx.AsyncClient, agent: httpx.AsyncClient, plane: Plane
) -> None:
    await pull(bouncer, startup="true")
    await plane.runtime.features.crowdsec.cursors.flush()
    metrics = {"remediation_components": [{"name": "b", "version": "v1"}]}
    assert (await bouncer.post("/v1/usage-metrics", json=metrics)).status_code == 201
    assert (await agent.post("/v1/usage-metrics", json={"log_processors": [{"name": "a"}]})).status_code == 201
    assert (await bouncer.post("/v1/usage-metrics", json={"other": 1})).status_code == 400
    assert (await agent.get("/v1/heartbeat")).status_code == 200
    bouncers = (await admin.get("/system/security/crowdsec/bouncers")).json()["items"]
    agents = (await admin.get("/system/security/crowdsec/agents")).json()["items"]
    assert any(one["usage"] == metrics and one["agent"] == "test-bouncer/v1.0" for one in bouncers)
    assert any(one["machine_id"] == "web-1" and one["heartbeat_at"] for one in agents)


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
