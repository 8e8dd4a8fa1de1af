"""Live events over real connections: who hears what, resuming, revoked keys, slow readers, the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue, Make
from tests.server.plane import Plane, refused
from tests.server.serving import serving
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from valhalla.features.observability.stream import store
from valhalla.features.observability.stream.contracts import Bounds
from valhalla.features.observability.stream.hub import Hub
from valhalla.features.observability.stream.reader import Reader
from valhalla.kernel.principal import Principal
from valhalla.kit.outbox import emit_many
from valhalla.sdk import AsyncClient, Client

SECONDS = 20


@pytest.fixture(scope="module")
async def address(plane: Plane) -> AsyncIterator[str]:
    async with serving(plane.app) as where:
        yield where


class Stream:
    """One open stream, read line by line."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.last_id: str | None = None

    async def frame(self) -> dict[str, Any]:
        """The next frame: its fields, comments under ``""``."""
        found: dict[str, Any] = {}
        async with asyncio.timeout(SECONDS):
            async for line in self._lines:
                if not line:
                    break
                name, _, value = line.partition(": ")
                found[name] = value
        self.last_id = found.get("id", self.last_id)
        return found

    async def event(self) -> dict[str, Any]:
        """The next event."""
        while "data" not in (frame := await self.frame()) or "event" in frame:
            assert frame, "the stream ended"
        return json.loads(frame["data"])


@asynccontextmanager
async def listening(
    address: str, key: str, *, last_id: str | None = None, header: str = "Authorization", **params: Any
) -> AsyncGenerator[Stream]:
    headers = {header: f"Bearer {key}" if header == "Authorization" else key}
    headers |= {"Last-Event-ID": last_id} if last_id else {}
    async with (
        httpx.AsyncClient(timeout=SECONDS) as client,
        client.stream("GET", f"http://{address}/events", params=params, headers=headers) as response,
    ):
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = Stream(response)
        assert "" in await stream.frame()
        yield stream


async def tell(plane: Plane, *subjects: str, **data: Any) -> None:
    items = [{"subject": one, "type": f"{one.partition('.')[0]}.told", "data": {"n": data}} for one in subjects]
    await plane.runtime.db.run(emit_many, items)


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


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
async def test_a_revoked_key_hears_nothing_more(
    plane: Plane, address: str, issue: Issue, admin: httpx.AsyncClient, header: str
) -> None:
    issued = await issue("live-e", "events:read", "jobs:read")
    async with listening(address, issued["key"], header=header) as stream:
        assert (await admin.delete(f"/system/api-clients/{issued['id']}")).status_code == 204

        frame = await stream.frame()

        assert (frame["event"], json.loads(frame["data"])) == ("closed", {"reason": "unauthenticated"})
        assert await stream.frame() == {}


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


def _socket(address: str, key: str) -> connect:
    return connect(f"ws://{address}/ws", additional_headers={"Authorization": f"Bearer {key}"})


async def _next(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(SECONDS):
        return json.loads(await socket.recv())


async def test_a_socket_hears_what_it_subscribed_to(plane: Plane, address: str, issue: Issue) -> None:
    key = (await issue("live-j", "events:read", "jobs:read", "alerts:read"))["key"]
    async with _socket(address, key) as socket:
        await socket.send('{"type": "subscribe", "topics": ["job"]}')
        subscribed = await _next(socket)
        assert (subscribed["type"], subscribed["topics"]) == ("subscribed", ["job"])
        await tell(plane, "alert.ws", "job.ws-1")
        assert "alert.ws" not in await _until(socket, "job.ws-1")

        await socket.send(json.dumps({"type": "subscribe", "topics": ["alert"], "after": subscribed["id"]}))
        assert await _answered(socket) == "subscribed"
        assert "job.ws-1" not in await _until(socket, "alert.ws")

        await socket.send('{"type": "ping"}')
        assert await _answered(socket) == "pong"
        for bad in ("{", '{"type": "subscribe", "topics": ["sandbox"]}', '{"type": "x"}'):
            await socket.send(bad)
            assert await _answered(socket) == "problem"


async def _until(socket: Any, subject: str) -> list[str]:
    """Hear what others make happen, too, until it is ours; return all subjects."""
    told: list[str] = []
    while subject not in told:
        told.append((await _next(socket))["event"]["subject"])
    return told


async def _answered(socket: Any) -> str:
    """Return what kind of answer comes, after whatever happens meanwhile."""
    while (found := (await _next(socket))["type"]) == "event":
        pass
    return found


async def test_a_socket_needs_a_key(plane: Plane, address: str, issue: Issue) -> None:
    for key, status in (("nonsense", 401), ((await issue("live-k", "jobs:read"))["key"], 403)):
        with pytest.raises(InvalidStatus) as caught:
            async with _socket(address, key):
                pass
        assert caught.value.response.status_code == status


async def test_a_socket_whose_key_is_revoked_or_loses_a_topic_is_closed(
    plane: Plane, address: str, issue: Issue, admin: httpx.AsyncClient
) -> None:
    revoked, narrowed = await issue("live-p", "events:read"), await issue("live-q", "events:read", "jobs:read")
    async with _socket(address, revoked["key"]) as one, _socket(address, narrowed["key"]) as other:
        await other.send('{"type": "subscribe", "topics": ["job"]}')
        assert (await _next(other))["type"] == "subscribed"

        assert (await admin.delete(f"/system/api-clients/{revoked['id']}")).status_code == 204
        scopes = {"scopes": ["events:read"]}
        assert (await admin.patch(f"/system/api-clients/{narrowed['id']}", json=scopes)).status_code == 200

        async with asyncio.timeout(SECONDS):
            await asyncio.gather(one.wait_closed(), other.wait_closed())
        assert (one.close_code, other.close_code) == (4401, 4401)


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


async def test_a_client_that_goes_leaves_nothing(plane: Plane, address: str, issue: Issue) -> None:
    issued = await issue("live-m", "events:read", "jobs:read")
    hub = plane.runtime.features.events.hub

    def mine() -> int:
        return sum(one.principal.id == issued["id"] for one in hub.listeners)

    async with listening(address, issued["key"]), _socket(address, issued["key"]):
        assert mine() == 2
    async with asyncio.timeout(SECONDS):
        while mine():
            await asyncio.sleep(0.01)


async def test_the_end_of_the_process_ends_streams(plane: Plane, issue: Issue) -> None:
    """A server that shuts down does not wait for those who only listen."""
    key = (await issue("live-n", "events:read", "jobs:read"))["key"]
    hub = plane.runtime.features.events.hub
    async with contextlib.AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving(plane.app))
        stream = await stack.enter_async_context(listening(address, key))
        socket = await stack.enter_async_context(_socket(address, key))
        hub.close()
        try:
            frame = await stream.frame()
            assert (frame["event"], json.loads(frame["data"])) == ("closed", {"reason": "shutdown"})
            async with asyncio.timeout(SECONDS):
                await socket.wait_closed()
            assert socket.close_code == 1012
            refused(await plane.client(key).get("/events"), 503, "backend-unavailable")
        finally:
            hub._closed = False
