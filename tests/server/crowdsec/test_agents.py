"""CrowdSec's API: what agents report, and what it blocks for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from tests.server.blocklist import caller
from tests.server.crowdsec.protocol import alert, ban, pull
from tests.server.plane import Plane


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
