"""Who hears what of live events, in a stream or a page at a time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue, Make
from tests.server.events.listening import SECONDS, listening, tell
from tests.server.plane import Plane, refused

from valhalla.features.observability.stream.contracts import Bounds
from valhalla.features.observability.stream.hub import Hub
from valhalla.features.observability.stream.reader import Reader
from valhalla.kernel.principal import Principal


async def test_a_stream_tells_what_happens(plane: Plane, address: str, issue: Issue) -> None:
    key = (await issue("live-a", "events:read", "jobs:read"))["key"]
    async with listening(address, key) as stream:
        await tell(plane, "alert.x", "job.live-1", "job.live-2")

        first, second = await stream.event(), await stream.event()

    assert [first["subject"], second["subject"]] == ["job.live-1", "job.live-2"]
    assert first["type"] == "job.told"
    assert first["id"] < second["id"]
    assert first["uid"] != second["uid"]


@pytest.mark.slow
async def test_an_export_is_followed_from_its_request_to_its_end(plane: Plane, address: str, issue: Issue) -> None:
    key = (await issue("live-x", "events:read", "exports:write", "jobs:read"))["key"]
    async with listening(address, key, topics="export") as stream:
        asked = await plane.client(key).post("/system/exports", json={"source": "jobs", "columns": ["id"]})
        subject, seen = f"export.{asked.json()['id']}", list[dict[str, Any]]()
        while not seen or seen[-1]["type"] != "export.completed":
            event = await stream.event()
            seen += [event] if event["subject"] == subject else []

    kinds = [each["type"] for each in seen]
    assert (kinds[:2], kinds[-1]) == (["export.requested", "export.running"], "export.completed")
    assert set(kinds[2:-1]) <= {"export.progress"}
    assert all({"rows", "written", "eta"} <= each["data"].keys() for each in seen)


async def test_only_the_own_sandboxes(
    plane: Plane, address: str, issue: Issue, make: Make, team_b: httpx.AsyncClient
) -> None:
    key = (await issue("http-a", "events:read", "sandbox:read"))["key"]
    async with listening(address, key, topics="sandbox") as stream:
        theirs = await make(team_b)
        mine = await make()

        event = await stream.event()

    assert event["subject"] == f"sandbox.{mine['id']}"
    assert event["data"]["owner"] == "http-a"
    assert theirs["id"] not in json.dumps(event)


async def test_registries_that_change(plane: Plane, address: str, issue: Issue, admin: httpx.AsyncClient) -> None:
    key = (await issue("live-f", "events:read", "limits:read"))["key"]
    async with listening(address, key, topics="registry.rate_limits") as stream:
        now = await stream.event()
        rule = {"name": "live-test", "rate": "1000/s", "shadow": True}
        assert (await admin.post("/system/rate-limits", json=rule)).status_code == 201
        changed = await stream.event()
        await admin.delete("/system/rate-limits/live-test")

    assert changed["type"] == "registry.changed"
    assert changed["data"]["revision"] == now["data"]["revision"] + 1


async def test_refusals(plane: Plane, issue: Issue) -> None:
    nobody = plane.client((await issue("live-g", "jobs:read"))["key"])
    refused(await nobody.get("/events"), 403, "forbidden")
    some = plane.client((await issue("live-h", "events:read", "jobs:read"))["key"])
    refused(await some.get("/events", params={"topics": "job,sandbox"}), 403, "forbidden")
    refused(await some.get("/events", params={"topics": "*"}), 422, "invalid-request")
    refused(await plane.client().get("/events"), 401, "unauthenticated")


async def test_a_page_of_what_happened(plane: Plane, issue: Issue) -> None:
    client = plane.client((await issue("live-i", "events:read", "jobs:read"))["key"])
    start = (await client.get("/events", params={"follow": False})).json()["next"]
    await tell(plane, "job.p-1", "alert.p", "job.p-2")

    page = (await client.get("/events", params={"follow": False, "after": start})).json()

    assert [one["subject"] for one in page["items"]] == ["job.p-1", "job.p-2"]
    assert not page["reset"]
    assert (await client.get("/events", params={"follow": False, "after": page["next"]})).json()["items"] == []
    assert (await client.get("/events", params={"follow": False, "after": 2**52})).json()["reset"]


async def test_every_process_hears_with_one_query_for_all(plane: Plane) -> None:
    """Another process of the fleet, with fifty listeners."""
    bounds = Bounds(per_principal=50)
    hub, stop = Hub(bounds, dict), asyncio.Event()
    reader = Reader(plane.runtime.db, hub, bounds)
    who = Principal("other", "other", frozenset({"events:read", "jobs:read"}))
    listeners = [hub.join(who, frozenset({"job"}), lambda: who) for _ in range(50)]
    running = asyncio.create_task(reader.run(stop))
    try:
        async with asyncio.timeout(SECONDS):
            await hub.ready.wait()
            before = reader.queries
            await tell(plane, "job.fleet")
            for listener in listeners:
                while not listener.queue:
                    await asyncio.sleep(0.005)
    finally:
        stop.set()
        await running
    assert {frame.subject for one in listeners for frame in one.queue} == {"job.fleet"}
    # the plane's own work wakes it too
    assert reader.queries - before < 20
