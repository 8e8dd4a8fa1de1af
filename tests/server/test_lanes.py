"""Live events over HTTP: published by who may, read by whose they are."""

from __future__ import annotations

import secrets

import httpx
import pytest
from tests.server.conftest import Issue, Make
from tests.server.plane import Plane, refused


@pytest.fixture(scope="module")
async def publisher(plane: Plane, issue: Issue) -> httpx.AsyncClient:
    """A key that may publish and nothing else."""
    return plane.client((await issue("http-ingress", "ingress"))["key"])


def event(key: str, number: int = 1, **more: object) -> dict[str, object]:
    return {
        "source": "tenant",
        "key": key,
        "type": "invoice.paid",
        "id": f"{key}-{number}",
        "data": {"n": number},
        **more,
    }


async def test_a_published_event_is_on_its_lane(
    make: Make, team_a: httpx.AsyncClient, team_b: httpx.AsyncClient, publisher: httpx.AsyncClient
) -> None:
    """It is read by the sandbox's owner as a CloudEvent, and by nobody else."""
    key = f"k{secrets.token_hex(6)}"
    box = await make(routes=[{"kind": "tenant", "key": key}])
    published = await publisher.post("/api/events", json={"events": [event(key, 1), event(key, 2), event(key, 1)]})
    assert [(one["sandbox"], one["duplicate"]) for one in published.json()] == [
        (box["id"], False),
        (box["id"], False),
        (box["id"], True),
    ]
    page = (await team_a.get(f"/api/sandboxes/{box['id']}/events")).json()
    assert [(one["id"], one["type"], one["data"]) for one in page["items"]] == [
        (f"{key}-1", "invoice.paid", {"n": 1}),
        (f"{key}-2", "invoice.paid", {"n": 2}),
    ]
    assert page["lag"]["waiting"] == 2
    later = await team_a.get(f"/api/sandboxes/{box['id']}/events", params={"after": page["items"][0]["sequence"]})
    assert [one["id"] for one in later.json()["items"]] == [f"{key}-2"]
    refused(await team_b.get(f"/api/sandboxes/{box['id']}/events"), 404, "sandbox-not-found")


async def test_an_event_goes_on_in_the_trace_of_its_publisher(
    make: Make, team_a: httpx.AsyncClient, publisher: httpx.AsyncClient
) -> None:
    """In the request's, unless it has one of its own, which is kept."""
    key, own = f"k{secrets.token_hex(6)}", f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
    box, trace_id = await make(routes=[{"kind": "tenant", "key": key}]), secrets.token_hex(16)
    events = [event(key, 1), event(key, 2, traceparent=own)]
    await publisher.post(
        "/api/events", json={"events": events}, headers={"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    )
    first, second = (await team_a.get(f"/api/sandboxes/{box['id']}/events")).json()["items"]
    assert (first["traceparent"].split("-")[1], second["traceparent"]) == (trace_id, own)


async def test_who_may_publish(team_a: httpx.AsyncClient, publisher: httpx.AsyncClient) -> None:
    """Publishing reaches production's lane: a developer's key does not do it, and an ingress's sees no sandbox."""
    refused(await team_a.post("/api/events", json={"events": [event("k")]}), 403, "forbidden")
    refused(await publisher.get("/api/sandboxes"), 403, "forbidden")


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "Bad"},
        {"key": ""},
        {"type": "\n"},
        {"id": ""},
        {"data_base64": "%%", "data": None},
        {"time": "2026-01-01T00:00:00"},
        {"time": "0001-01-01T00:00:00+14:00"},
        {"extensions": {"data": "x"}},
    ],
    ids=["source", "key", "type", "id", "base64", "time", "year", "extension"],
)
async def test_an_event_that_cannot_be_routed_is_refused(
    publisher: httpx.AsyncClient, wrong: dict[str, object]
) -> None:
    """Nothing of the request is stored, also what comes before it."""
    key = f"k{secrets.token_hex(6)}"
    response = await publisher.post("/api/events", json={"events": [event(key), event(key, 2) | wrong]})
    refused(response, 422, "event-invalid")
    stored = (await publisher.post("/api/events", json={"events": [event(key)]})).json()
    assert stored[0]["duplicate"] is False


async def test_routes_are_changed_in_bulk(make: Make, team_a: httpx.AsyncClient) -> None:
    """What is released and what is claimed is said in one request, and listed with its terms."""
    key = f"k{secrets.token_hex(6)}"
    box = await make(routes=[{"kind": "tenant", "key": key}])
    at = f"/api/sandboxes/{box['id']}/routes"
    body = {
        "unlink": [{"kind": "tenant", "key": key}],
        "link": [{"kind": "header", "key": f"X-Try={key}", "mode": "mirror", "sample": 0.5}],
    }
    changed = await team_a.post(f"{at}/bulk", json=body)
    assert [(one["kind"], one["key"], one["mode"], one["sample"]) for one in changed.json()] == [
        ("header", f"x-try={key}", "mirror", 0.5)
    ]
    assert (await team_a.get(at)).json() == changed.json()
    assert (await team_a.delete(f"{at}/header/x-try={key}?unread=return")).status_code == 204
    refused(await team_a.post(f"{at}/bulk", json={"link": [{"kind": "subject", "key": ">"}]}), 422, "invalid-request")
    wrong = {"kind": "tenant", "key": key, "sample": 0.5}
    refused(await team_a.post(f"{at}/bulk", json={"link": [wrong]}), 422, "invalid-request")


async def test_no_dead_letters(make: Make, team_a: httpx.AsyncClient) -> None:
    """There are none to begin with, and one that is none cannot be replayed."""
    box = await make()
    at = f"/api/sandboxes/{box['id']}/events/dead"
    assert (await team_a.get(at)).json() == {"items": [], "next": 0}
    refused(await team_a.post(f"{at}/7/replay"), 404, "dead-letter-not-found")


async def test_metrics_tell_of_routing(admin: httpx.AsyncClient) -> None:
    """What operators watch has its names."""
    text = (await admin.get("/metrics")).text
    for name in ("valhalla_route_claim_seconds", "valhalla_lanes", "valhalla_dead_letters_total"):
        assert name in text
