"""Events once more: from a time on, from production's past, and from a recorded session."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue, Make
from tests.server.plane import Plane, refused


@pytest.fixture(scope="module")
async def publisher(plane: Plane, issue: Issue) -> httpx.AsyncClient:
    return plane.client((await issue("replay-ingress", "ingress"))["key"])


@pytest.fixture
def key() -> str:
    return f"k{secrets.token_hex(6)}"


async def publish(publisher: httpx.AsyncClient, key: str, *numbers: int) -> None:
    events = [
        {"source": "tenant", "key": key, "type": "t", "id": f"{key}-{number}", "data": {"n": number}}
        for number in numbers
    ]
    assert (await publisher.post("/api/events", json={"events": events})).status_code == 200


def numbers(page: Any) -> list[int]:
    return [one["data"]["n"] for one in page["items"]]


async def test_a_lane_is_read_from_a_time(
    make: Make, team_a: httpx.AsyncClient, publisher: httpx.AsyncClient, key: str
) -> None:
    """What was stored before is left out, and nobody's consumer notices."""
    box = await make(routes=[{"kind": "tenant", "key": key}])
    at = f"/api/sandboxes/{box['id']}/events"
    await publish(publisher, key, 1)
    await asyncio.sleep(0.01)
    await publish(publisher, key, 2, 3)
    everything = (await team_a.get(at)).json()
    instant = everything["items"][1]["stored_at"]
    page = (await team_a.get(at, params={"since": instant})).json()
    assert numbers(page) == [2, 3]
    assert page["lag"] == {"waiting": 3, "unacknowledged": 0, "redelivered": 0}
    assert numbers((await team_a.get(at, params={"until": instant})).json()) == [1]
    refused(await team_a.get(at, params={"since": "2026-01-01T00:00:00"}), 422, "invalid-request")
    # what no clock of a server can say
    for wanted, expected in (
        ({"since": "0001-01-01T00:00:00+14:00"}, [1, 2, 3]),
        ({"since": "9999-12-31T23:59:59-12:00"}, []),
        ({"until": "0001-01-01T00:00:00+14:00"}, []),
        ({"until": "9999-12-31T23:59:59-12:00"}, [1, 2, 3]),
    ):
        assert numbers((await team_a.get(at, params=wanted)).json()) == expected


async def test_production_s_past_is_read_and_copied(
    make: Make, team_a: httpx.AsyncClient, publisher: httpx.AsyncClient, key: str
) -> None:
    """A route for replays moves nothing live, and brings what production has had, each event once per run."""
    await publish(publisher, key, 1, 2, 3)
    box = await make()
    at = f"/api/sandboxes/{box['id']}"
    which = {"kind": "tenant", "key": key}
    refused(await team_a.get(f"{at}/events/past", params=which), 404, "route-not-found")
    refused(await team_a.post(f"{at}/events/replay", json={**which, "run": "r" * 8}), 404, "route-not-found")
    assert (await team_a.post(f"{at}/routes", json={**which, "mode": "replay"})).status_code == 201
    await publish(publisher, key, 4)
    assert (await team_a.get(f"{at}/events")).json()["items"] == []

    page = (await team_a.get(f"{at}/events/past", params={**which, "limit": 3})).json()
    assert (numbers(page), page["done"]) == ([1, 2, 3], False)
    later = {"after": page["next"]}
    assert numbers((await team_a.get(f"{at}/events/past", params=which | later)).json()) == [4]

    run = secrets.token_hex(8)
    for body, copied, done in (({"limit": 3}, 3, False), ({"limit": 3}, 3, False), (later, 1, True)):
        answer = (await team_a.post(f"{at}/events/replay", json={**which, "run": run, **body})).json()
        assert (answer["copied"], answer["done"]) == (copied, done)
    lane = (await team_a.get(f"{at}/events")).json()
    assert numbers(lane) == [1, 2, 3, 4]
    assert all(one["mirrored"] for one in lane["items"])


async def test_patterns_have_a_past(
    make: Make, team_a: httpx.AsyncClient, publisher: httpx.AsyncClient, key: str
) -> None:
    """Only subjects that fall under the pattern."""
    box = await make()
    which = {"kind": "subject", "key": f"{key}.*.made"}
    await team_a.post(f"/api/sandboxes/{box['id']}/routes", json={**which, "mode": "replay"})
    for subject, number in ((f"{key}.eu.made", 1), (f"{key}.eu.gone", 2), (f"{key}.us.made", 3)):
        event = {"source": "subject", "key": subject, "type": "t", "id": f"{key}-{number}", "data": {"n": number}}
        stored = await publisher.post("/api/events", json={"events": [event]})
        assert stored.json()[0]["sandbox"] is None
    page = await team_a.get(f"/api/sandboxes/{box['id']}/events/past", params=which)
    assert numbers(page.json()) == [1, 3]


async def test_a_session_is_played_under_new_ids(make: Make, team_a: httpx.AsyncClient, key: str) -> None:
    """In its order, once however often it is sent, and never production's when the route is released."""
    box = await make(routes=[{"kind": "tenant", "key": key}])
    at = f"/api/sandboxes/{box['id']}"
    events = [
        {"source": "tenant", "key": key, "type": "t", "id": f"old-{number}", "data": {"n": number}}
        for number in range(50)
    ]
    events[0]["extensions"] = {"shop": "eu"}
    run = secrets.token_hex(8)
    first = await team_a.post(f"{at}/events/play", json={"run": run, "events": events})
    again = await team_a.post(f"{at}/events/play", json={"run": run, "events": events})
    assert first.json() == again.json()
    lane = (await team_a.get(f"{at}/events")).json()
    assert numbers(lane) == list(range(50))
    assert (lane["items"][0]["id"], lane["items"][0]["recordedid"], lane["items"][0]["shop"]) == (
        f"{run}-0",
        "old-0",
        "eu",
    )
    assert (await team_a.delete(f"{at}/routes/tenant/{key}?unread=return")).status_code == 204
    await team_a.post(f"{at}/routes", json={"kind": "tenant", "key": key, "mode": "replay"})
    past = await team_a.get(f"{at}/events/past", params={"kind": "tenant", "key": key})
    assert past.json()["items"] == []


async def test_only_a_running_sandbox_of_one_s_own_is_played_to(
    make: Make, team_a: httpx.AsyncClient, team_b: httpx.AsyncClient, key: str
) -> None:
    box = await make()
    at = f"/api/sandboxes/{box['id']}/events/play"
    event = {"source": "tenant", "key": key, "type": "t", "id": "1"}
    body = {"run": "a" * 8, "events": [event]}
    refused(await team_b.post(at, json=body), 404, "sandbox-not-found")
    refused(await team_a.post(at, json={**body, "run": "../x"}), 422, "invalid-request")
    wrong = {**body, "events": [event, {**event, "extensions": {"Bad Name": "x"}}]}
    refused(await team_a.post(at, json=wrong), 422, "event-invalid")
    assert (await team_a.get(f"/api/sandboxes/{box['id']}/events")).json()["items"] == []
    await team_a.delete(f"/api/sandboxes/{box['id']}?wait=5")
    refused(await team_a.post(at, json=body), 409, "sandbox-not-running")
