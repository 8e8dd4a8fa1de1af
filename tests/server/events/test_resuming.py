"""Who lost a stream goes on where it was: nothing is skipped, and what is gone is said."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.server.conftest import Issue
from tests.server.events.listening import SECONDS, listening, tell
from tests.server.plane import Plane

from valhalla.features.observability.stream import store
from valhalla.sdk import AsyncClient, Client


async def test_it_resumes_where_it_was(plane: Plane, address: str, issue: Issue) -> None:
    key = (await issue("live-b", "events:read", "jobs:read"))["key"]
    async with listening(address, key, topics="job") as stream:
        await tell(plane, "job.r-1")
        assert (await stream.event())["subject"] == "job.r-1"
        last_id = stream.last_id
    await tell(plane, "job.r-2", "alert.r", "job.r-3")
    async with listening(address, key, topics="job", last_id=last_id) as stream:
        await tell(plane, "job.r-4")
        told: dict[str, str] = {}
        while "job.r-4" not in told.values():
            event = await stream.event()
            assert event["uid"] not in told
            told[event["uid"]] = event["subject"]

    # what lies between a number and one that might still have come is told twice
    ours = [one for one in told.values() if one.startswith("job.r-")]
    assert [one for one in ours if one != "job.r-1"] == ["job.r-2", "job.r-3", "job.r-4"]


@pytest.mark.parametrize("last_id", ["none-of-ours", "999999999999"])
async def test_an_id_that_cannot_be_resumed_begins_anew(plane: Plane, address: str, issue: Issue, last_id: str) -> None:
    key = (await issue("live-c", "events:read", "jobs:read"))["key"]
    async with listening(address, key, last_id=last_id) as stream:
        frame = await stream.frame()
        assert frame["event"] == "reset"
        assert "reason" in json.loads(frame["data"])
        await tell(plane, "job.reset")
        assert (await stream.event())["subject"] == "job.reset"


async def test_what_is_not_kept_is_said(plane: Plane) -> None:
    await tell(plane, *(f"job.many-{number}" for number in range(5)))
    newest = (await plane.runtime.db.read(store.latest, 5))[0].id

    assert await plane.runtime.db.read(store.reaches, newest, 4)
    assert not await plane.runtime.db.read(store.reaches, newest, 3)
    assert not await plane.runtime.db.read(store.reaches, 0, 10)


async def test_a_late_commit_is_told_and_not_skipped(plane: Plane, address: str, issue: Issue) -> None:
    """A transaction takes its number, another one with a higher number ends first: both are heard, and resumed."""
    key = (await issue("live-d", "events:read", "jobs:read"))["key"]
    slow = await plane.runtime.db.connect()
    try:
        async with listening(address, key, topics="job") as stream:
            before = int(stream.last_id or 0)
            transaction = slow.transaction()
            await transaction.start()
            await slow.execute(
                "INSERT INTO valhalla.events (uid, subject, type, data, at)"
                " VALUES ('late-1', 'job.late', 'job.told', '{}', now())"
            )
            await tell(plane, "job.early")
            assert (await stream.event())["subject"] == "job.early"
            assert before <= int(stream.last_id or 0)
            resumed_at = stream.last_id
            await transaction.commit()
            await tell(plane, "job.after")
            assert {(await stream.event())["subject"], (await stream.event())["subject"]} == {"job.late", "job.after"}
        async with listening(address, key, topics="job", last_id=resumed_at) as stream:
            again: set[str] = set()
            while "job.after" not in again:
                again.add((await stream.event())["subject"])
            assert "job.late" in again
    finally:
        await slow.close()


async def test_a_reader_that_is_slow_is_let_go_and_comes_back(plane: Plane, address: str, issue: Issue) -> None:
    issued = await issue("live-l", "events:read", "jobs:read")
    hub = plane.runtime.features.events.hub
    async with listening(address, issued["key"], topics="job") as stream:
        await tell(plane, "job.s-1")
        await stream.event()
        [listener] = [one for one in hub.listeners if one.principal.id == issued["id"]]
        listener.end("slow")
        frame = await stream.frame()
        assert (frame["event"], json.loads(frame["data"])["reason"]) == ("closed", "slow")
    await tell(plane, "job.s-2")
    async with listening(address, issued["key"], topics="job", last_id=stream.last_id) as again:
        while (await again.event())["subject"] != "job.s-2":
            pass


async def test_programs_follow_over_lost_connections(plane: Plane, address: str, issue: Issue) -> None:
    issued = await issue("live-o", "events:read", "jobs:read")
    hub = plane.runtime.features.events.hub

    async def until_it_listens() -> None:
        async with asyncio.timeout(SECONDS):
            while not [one for one in hub.listeners if one.principal.id == issued["id"] and one.ended is None]:
                await asyncio.sleep(0.01)

    async with AsyncClient(f"http://{address}", issued["key"]) as client:
        following = client.events.follow("job")
        ours = (event.subject async for event in following if event.subject.startswith("job.f-"))
        first = asyncio.ensure_future(anext(ours))
        await until_it_listens()
        await tell(plane, "job.f-1")
        assert await asyncio.wait_for(first, SECONDS) == "job.f-1"
        for listener in tuple(hub.listeners):
            listener.end("slow")
        await tell(plane, "job.f-2", "job.f-3")
        told = [await asyncio.wait_for(anext(ours), SECONDS) for _ in range(2)]
        assert told == ["job.f-2", "job.f-3"]
        await following.aclose()
        assert "job.f-3" in [event.subject for event in (await client.events.page("job", limit=100)).items]

    def follow() -> str:
        with Client(f"http://{address}", issued["key"]) as client:
            return next(one.subject for one in client.events.follow("job") if one.subject.startswith("job.f-"))

    blocking = asyncio.create_task(asyncio.to_thread(follow))
    await until_it_listens()
    await tell(plane, "job.f-4")
    assert await asyncio.wait_for(blocking, SECONDS) == "job.f-4"
