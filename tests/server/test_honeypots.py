"""Sensors, decoys and what becomes of who touches them, through the whole control plane."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

HONEYPOTS = "/system/security/honeypots"
DECOYS = "/system/security/decoys"
Register = Callable[..., Awaitable[tuple[httpx.AsyncClient, dict[str, Any]]]]


@pytest.fixture
async def register(plane: Plane, admin: httpx.AsyncClient) -> AsyncIterator[Register]:
    """Register sensors that end with the test."""
    made: list[str] = []

    async def make(name: str, **more: Any) -> tuple[httpx.AsyncClient, dict[str, Any]]:
        answer = await admin.post(HONEYPOTS, json={"name": name, **more})
        assert answer.status_code == 201, answer.text
        made.append(name)
        return plane.client(answer.json()["key"]), answer.json()

    yield make
    for name in made:
        await admin.delete(f"{HONEYPOTS}/{name}")


@pytest.fixture
async def stranger(plane: Plane, admin: httpx.AsyncClient) -> AsyncIterator[Callable[[str], httpx.AsyncClient]]:
    """Ask from any address; what was blocked is let in again."""
    made: list[tuple[str, httpx.AsyncClient]] = []

    def at(address: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(plane.app, raise_app_exceptions=False, client=(address, 1))
        made.append((address, httpx.AsyncClient(transport=transport, base_url="http://plane")))
        return made[-1][1]

    yield at
    for address, client in made:
        await client.aclose()
        await admin.delete(f"/system/security/blocklist/ip:{address}")


async def until(seen: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until there is something."""
    for _ in range(200):
        if found := await seen():
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come")


def is_shut_out(client: httpx.AsyncClient) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        answer = await client.get("/docs")
        return answer.status_code == 403

    return look


def event(**more: Any) -> dict[str, Any]:
    return {"at": datetime.now(UTC).isoformat(), "kind": "scan", "address": "198.51.100.60", **more}


async def test_a_sensor_is_registered_keeps_its_metadata_and_can_be_switched_off(
    plane: Plane, admin: httpx.AsyncClient, register: Register
) -> None:
    sensor, made = await register("t-dmz", type="cowrie", location="dmz", metadata={"rack": 7, "tags": ["a"]})
    assert made["metadata"] == {"rack": 7, "tags": ["a"]}
    shown = (await admin.get(f"{HONEYPOTS}/t-dmz")).json()
    assert (shown["metadata"], shown["active"], "key" in shown) == ({"rack": 7, "tags": ["a"]}, True, False)
    assert made["key"] not in (await admin.get(f"{HONEYPOTS}/t-dmz/history")).text
    refused(await admin.post(HONEYPOTS, json={"name": "t-dmz"}), 409, "honeypot-exists")

    refused(await sensor.get(HONEYPOTS), 403, "forbidden")
    sent = await sensor.post(f"{HONEYPOTS}/events", json={"items": [event(address=None)]})
    assert sent.json()["accepted"] == 1
    assert (await admin.post(f"{HONEYPOTS}/t-dmz/deactivate")).json()["active"] is False
    refused(await sensor.post(f"{HONEYPOTS}/events", json={"items": [event()]}), 401, "unauthenticated")
    assert (await admin.post(f"{HONEYPOTS}/t-dmz/activate")).json()["active"] is True
    rotated = (await admin.post(f"{HONEYPOTS}/t-dmz/rotate", json={})).json()["key"]
    refused(await sensor.post(f"{HONEYPOTS}/events", json={"items": [event()]}), 401, "unauthenticated")
    again = plane.client(rotated)
    assert (await again.post(f"{HONEYPOTS}/events", json={"items": [event(address=None)]})).json()["accepted"] == 1
    changed = await admin.patch(f"{HONEYPOTS}/t-dmz", json={"location": "attic"})
    assert (changed.json()["location"], changed.json()["metadata"]["rack"]) == ("attic", 7)


async def test_what_is_sent_again_is_taken_once_and_what_is_forged_not_at_all(
    plane: Plane, admin: httpx.AsyncClient, register: Register
) -> None:
    sensor, _ = await register("t-twice")
    now = datetime.now(UTC)
    items = [
        event(id="one", address=None),
        event(id="one", address=None) | {"at": now.isoformat()},
        event(at=(now - timedelta(hours=30)).isoformat()),
        event(at=(now + timedelta(hours=1)).isoformat()),
    ]
    items[1]["at"] = items[0]["at"]
    first = (await sensor.post(f"{HONEYPOTS}/events", json={"items": items})).json()
    assert (first["accepted"], first["duplicates"]) == (1, 1)
    assert [one["number"] for one in first["refused"]] == [2, 3]
    replayed = (await sensor.post(f"{HONEYPOTS}/events", json={"items": items})).json()
    assert (replayed["accepted"], replayed["duplicates"]) == (0, 2)
    found = (await admin.get(f"{HONEYPOTS}/events?honeypot=t-twice")).json()["items"]
    assert len(found) == 1

    refused(await admin.post(f"{HONEYPOTS}/events", json={"items": [event()]}), 403, "honeypot-unknown-sensor")
    refused(await plane.client().post(f"{HONEYPOTS}/events", json={"items": [event()]}), 401, "unauthenticated")


async def test_what_a_sensor_goes_on_to_see_does_not_write_the_block_anew(
    admin: httpx.AsyncClient, register: Register
) -> None:
    sensor, _ = await register("t-busy")
    address, path = "198.51.100.65", "/system/security/blocklist/ip:198.51.100.65"
    try:
        versions: set[int] = set()
        for number in range(3):
            sent = {"items": [event(id=str(number), address=address, kind="exploitation")]}
            assert (await sensor.post(f"{HONEYPOTS}/events", json=sent)).json()["accepted"] == 1
            versions.add((await admin.get(path)).json()["version"])
        assert len(versions) == 1
    finally:
        await admin.delete(path)


async def test_opencanary_and_cowrie_send_as_they_are_and_also_while_writes_are_closed(
    plane: Plane, admin: httpx.AsyncClient, register: Register
) -> None:
    sensor, _ = await register("t-native")
    now = datetime.now(UTC)
    canary = {
        "logtype": 4002, "src_host": "", "src_port": -1, "dst_host": "10.0.0.1", "dst_port": 22, "node_id": "n",
        "logdata": {"USERNAME": "root", "PASSWORD": "hunter2"}, "utc_time": f"{now:%Y-%m-%d %H:%M:%S.%f}",
    }  # fmt: skip
    cowrie = {"eventid": "cowrie.command.input", "input": "uname -a", "timestamp": now.isoformat(), "session": "1"}
    lines = f"{json.dumps(cowrie)}\n{json.dumps({**cowrie, 'eventid': 'cowrie.session.closed'})}\n"
    closed = {"mode": "read_only", "reason": "test"}
    (await admin.post("/system/maintenance/state", json=closed)).raise_for_status()
    try:
        one = await sensor.post(f"{HONEYPOTS}/events/opencanary", json={"message": json.dumps(canary)})
        form = await sensor.post(f"{HONEYPOTS}/events/opencanary", data={"message": json.dumps(canary)})
        two = await sensor.post(f"{HONEYPOTS}/events/cowrie", content=lines)
    finally:
        await admin.post("/system/maintenance/state", json={"mode": "normal", "reason": "over"})
    assert (one.json()["accepted"], form.json()["duplicates"]) == (1, 1), one.text + form.text
    assert (two.json()["accepted"], two.json()["ignored"]) == (1, 1), two.text
    found = await admin.get(f"{HONEYPOTS}/events?honeypot=t-native")
    assert {one["kind"] for one in found.json()["items"]} == {"auth_attempt", "command"}
    assert "hunter2" not in found.text
    refused(await sensor.post(f"{HONEYPOTS}/events/cowrie", content=b"no json"), 422, "honeypot-bad-event")


async def test_a_scanner_that_touches_three_decoys_is_shut_out(
    admin: httpx.AsyncClient, stranger: Callable[[str], httpx.AsyncClient]
) -> None:
    scanner = stranger("198.51.100.61")
    env = await scanner.get("/.env")
    assert (env.status_code, "DB_PASSWORD" in env.text) == (200, True)
    assert (await scanner.get("/wp-login.php")).status_code == 200
    assert (await scanner.get("/docs")).status_code == 200
    assert (await scanner.post("/.git/config")).status_code == 403
    await until(is_shut_out(scanner))
    assert "DB_PASSWORD" not in (await scanner.get("/.env")).text

    found = (await admin.get(f"{HONEYPOTS}/events?address=198.51.100.61")).json()["items"]
    assert {one["payload"]["decoy"] for one in found} == {"env", "wp-login", "git"}
    active = (await admin.get(f"{HONEYPOTS}/activity?hours=1")).json()
    assert next(one for one in active["addresses"] if one["address"] == "198.51.100.61")["score"] == 30
    ledger = (await admin.get("/system/audit?kind=policy&limit=10")).json()["items"]
    assert any(one["action"] == "policy.blocked" and one["details"]["subject"] == "198.51.100.61" for one in ledger)

    async def told() -> Any:
        alerts = (await admin.get("/system/alerts?text=198.51.100.61")).json()["items"]
        return {one["name"] for one in alerts} >= {"decoy.touched", "policy.blocked"}

    await until(told)


async def test_a_decoy_key_looks_real_and_whoever_uses_it_is_out_at_once(
    admin: httpx.AsyncClient, stranger: Callable[[str], httpx.AsyncClient]
) -> None:
    made = await admin.post(f"{DECOYS}/keys", json={"name": "t-bait", "description": "in the wiki"})
    key = made.json()["key"]
    assert key.startswith("vh_")
    shown = await admin.get(f"{DECOYS}/t-bait")
    assert (shown.json()["kind"], key in shown.text) == ("key", False)
    try:
        thief = stranger("198.51.100.62")
        refused(await thief.get("/api/sandboxes", headers={"Authorization": f"Bearer {key}"}), 401, "unauthenticated")
        await until(is_shut_out(thief))

        async def told() -> Any:
            alerts = (await admin.get("/system/alerts?text=t-bait")).json()["items"]
            return [one for one in alerts if (one["name"], one["severity"]) == ("decoy.key_used", "critical")]

        assert await until(told)
    finally:
        await admin.delete(f"{DECOYS}/t-bait")


async def test_a_canary_is_noticed_and_nobody_notices(
    admin: httpx.AsyncClient, team_a: httpx.AsyncClient, stranger: Callable[[str], httpx.AsyncClient]
) -> None:
    made = (await admin.put(f"{DECOYS}/t-canary", json={"kind": "canary", "score": 1})).json()
    try:
        curious = stranger("198.51.100.63")
        key = team_a.headers["Authorization"]
        answer = await curious.get(f"/api/sandboxes/{made['word']}", headers={"Authorization": key})
        assert answer.json()["code"] == "sandbox-not-found"

        async def seen() -> Any:
            return (await admin.get(f"{HONEYPOTS}/events?kind=canary&address=198.51.100.63")).json()["items"]

        [event_] = await until(seen)
        assert (event_["payload"]["decoy"], event_["score"]) == ("t-canary", 1)
    finally:
        await admin.delete(f"{DECOYS}/t-canary")


async def test_decoys_are_the_operators(
    admin: httpx.AsyncClient, issue: Issue, stranger: Callable[[str], httpx.AsyncClient]
) -> None:
    refused(await admin.put(f"{DECOYS}/t-real", json={"path": "/api/x"}), 422, "decoy-bad")
    made = await admin.put(f"{DECOYS}/t-old", json={"path": "/t-old/*", "face": "login", "score": 0})
    assert made.status_code == 201
    visitor = stranger("198.51.100.64")
    assert "password" in (await visitor.get("/t-old/login")).text
    await admin.delete(f"{DECOYS}/t-old")
    refused(await visitor.get("/t-old/login"), 401, "unauthenticated")
