"""The list of applications that follow this control plane: what it says, and going through all of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused
from tests.server.serving import serving

import valhalla
from valhalla.cli.main import run
from valhalla.features.operations.connected import store
from valhalla.features.operations.connected.tables import applications

LIST = "/system/applications"
REPORT = "/system/snapshot/applications"


@pytest.fixture(scope="module", autouse=True)
async def gone(plane: Plane) -> AsyncIterator[None]:
    """What reported here is gone afterwards: the check of all applications names a few."""
    yield
    await plane.runtime.db.run(lambda conn: conn.execute(sa.delete(applications)))


@pytest.fixture(scope="module")
async def machine(plane: Plane, issue: Issue) -> httpx.AsyncClient:
    return plane.client((await issue("http-applications", "snapshot:read"))["key"])


async def everything(admin: httpx.AsyncClient, size: int = 200, **query: str) -> list[dict[str, Any]]:
    """Go through the list in pages of a size."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await admin.get(LIST, params={**query, "limit": size, "cursor": cursor})).json()
        assert len(page["items"]) <= size
        found, cursor = found + page["items"], page["next"]
    return found


async def test_who_follows_is_listed_with_what_is_not_enforced_there(
    plane: Plane, admin: httpx.AsyncClient, machine: httpx.AsyncClient, team_a: httpx.AsyncClient
) -> None:
    lack = {"what": "country", "rules": 2, "why": "no header says it"}
    report: dict[str, Any] = {
        "instance": "listed-1",
        "name": "shop-listed",
        "host": "web-1",
        "release": "1",
        "lacks": [],
    }
    refused(await team_a.post(REPORT, json=report), 403, "forbidden")
    for odd in ({"instance": "a b"}, {"name": "\0"}, {"lacks": [lack | {"why": "\0"}]}, {"revision": "\0"}):
        refused(await machine.post(REPORT, json=report | odd), 422, "invalid-request")

    async def listed() -> dict[str, Any]:
        items = await everything(admin)
        (mine,) = [one for one in items if one["instance"] == "listed-1"]
        return mine

    async def checked() -> bool:
        plane.runtime.features.health.checks.forget()
        return "shop-listed" in (await admin.get("/readyz/applications")).text

    for lacks, state in (([], "following"), ([lack], "degraded"), ([], "following")):
        assert (await machine.post(REPORT, json=report | {"lacks": lacks})).status_code == 204
        mine = await listed()
        assert (mine["state"], mine["lacks"], mine["name"]) == (state, lacks, "shop-listed")
        assert await checked() is bool(lacks)
    # what is only said for operators to see is said in maintenance too
    try:
        await admin.post("/system/maintenance/state", json={"mode": "maintenance", "reason": "told all the same"})
        assert (await machine.post(REPORT, json=report)).status_code == 204
    finally:
        await admin.post("/system/maintenance/state", json={"mode": "normal", "reason": "over"})


async def test_every_page_is_there_while_processes_go_on_reporting(
    plane: Plane, admin: httpx.AsyncClient, machine: httpx.AsyncClient
) -> None:
    lack = {"what": "asn", "rules": 1, "why": "no header says it"}
    # capitals, signs beyond ASCII and equal names must not end a walk early or repeat one
    names = ["paged-b", "paged-C", "paged-\U0001f6d2" + "\U0001f6d2" * 90, "paged-a", "paged-a", "paged-Ä", "paged-a"]
    reports = [
        {"instance": f"paged-{n}", "name": name, "host": "web-1", "release": "1", "lacks": [lack] * (n % 2)}
        for n, name in enumerate(names)
    ]
    for report in reports:
        assert (await machine.post(REPORT, json=report)).status_code == 204

    reported = plane.runtime.clock.now() - timedelta(seconds=91)
    row = {**reports[0], "instance": "paged-7", "name": "paged-z", "client_id": "gone", "seen_at": reported}
    await plane.runtime.db.run(store.note, row | {"revision": None, "blocklist": None})
    names.append("paged-z")

    def mine(items: list[dict[str, Any]]) -> list[str]:
        return [one["instance"] for one in items if one["instance"].startswith("paged-")]

    expected = [f"paged-{n}" for n in sorted(range(len(names)), key=lambda n: (names[n].encode(), n))]
    assert mine(await everything(admin)) == expected
    assert mine(await everything(admin, 1)) == expected
    degraded = [one for one in expected if one in ("paged-1", "paged-3", "paged-5")]
    assert mine(await everything(admin, 2, state="degraded")) == degraded
    assert mine(await everything(admin, 2, state="following")) == [
        one for one in expected if one not in (*degraded, "paged-7")
    ]
    assert mine(await everything(admin, state="silent")) == ["paged-7"]
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await admin.get(LIST, params={"limit": 2, "cursor": cursor})).json()
        # whoever was heard of last does not jump over who asks
        for report in reports:
            await machine.post(REPORT, json=report)
        found, cursor = found + page["items"], page["next"]
    assert mine(found) == expected
    for odd in ({"cursor": "x"}, {"cursor": "e30"}, {"limit": 0}, {"limit": 201}, {"state": "away"}):
        assert (await admin.get(LIST, params=odd)).status_code == 422, odd


async def test_the_clients_and_the_command_line_go_through_it(
    plane: Plane,
    admin: httpx.AsyncClient,
    machine: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lack = {"what": "cel", "rules": 3, "why": "an older release"}
    for n in range(3):
        report = {"instance": f"walked-{n}", "name": f"walked-{n}", "host": "web-1", "release": "1", "lacks": [lack]}
        assert (await machine.post(REPORT, json=report)).status_code == 204
    key = await plane.admin_key()

    async def told(*words: str) -> tuple[str, str]:
        capsys.readouterr()
        assert await asyncio.to_thread(run, ("applications", *words)) == 0
        return capsys.readouterr()

    async with serving(plane.app) as place:
        monkeypatch.setenv("VALHALLA_URL", f"http://{place}")
        monkeypatch.setenv("VALHALLA_API_KEY", key)
        async with valhalla.AsyncClient(f"http://{place}", key) as client:
            walked = [one async for one in client.system.iterate_applications(state="degraded", limit=1)]
            assert len((await client.system.applications(limit=2)).items) == 2
        # smaller than the list, so that it is walked
        monkeypatch.setattr("valhalla.cli.paging.PAGE", 2)
        whole = json.loads((await told("--json"))[0])
        lacking = json.loads((await told("--lacking", "--json"))[0])
        cut = await told("--limit", "1")
        first = json.loads((await told("--limit", "1", "--json"))[0])
        quiet = await told("-q")
    names = [f"walked-{n}" for n in range(3)]
    assert [one["name"] for one in walked if one["name"] in names] == names
    assert [one["name"] for one in whole["items"] if one["name"] in names] == names
    assert whole["next"] is None
    assert {one["state"] for one in lacking["items"]} == {"degraded"}
    assert set(names) <= {one["name"] for one in lacking["items"]}
    assert len(first["items"]) == 1
    assert first["next"] is not None
    assert "more than these 1" in cut[1]
    assert set(names) <= set(quiet[0].split())
