"""The security dashboard says what the lists beneath it say."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused

from valhalla.features.security.dashboard import store
from valhalla.features.security.dashboard.rolling import bucket_of

PATH = "/system/security/dashboard"


async def everything(client: httpx.AsyncClient, path: str, **params: Any) -> list[Any]:
    found: list[Any] = []
    cursor = None
    while True:
        page = (await client.get(path, params=params | {"limit": 200} | ({"cursor": cursor} if cursor else {}))).json()
        found += page["items"]
        if (cursor := page["next"]) is None:
            return found


async def look(plane: Plane, client: httpx.AsyncClient, window: str = "1h") -> Any:
    """Look anew, not at what somebody saw a moment ago."""
    plane.runtime.features.dashboard.service._shown.clear()
    answer = await client.get(PATH, params={"window": window})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_it_agrees_with_the_lists(plane: Plane, admin: httpx.AsyncClient, issue: Issue) -> None:
    asker = plane.client((await issue("dash-asker", "actions:write", "operations:write", "keys:write"))["key"])
    body = {"type": "key.revoke", "payload": {"id": "dash-none"}, "reason": "a test"}
    asked = (await asker.post("/system/security/actions", json=body)).json()
    shown = await look(plane, admin)
    try:
        waiting = await everything(admin, "/system/security/actions", kind="open")
        assert shown["approvals"]["open"] == len(waiting)
        assert {one["type"]: one["open"] for one in shown["approvals"]["by_type"]} == Counter(
            one["type"] for one in waiting
        )
        assert sum(shown["approvals"]["by_age"].values()) == len(waiting)
        rules = await everything(admin, "/system/security/blocklist")
        assert shown["blocklist"]["rules"] + shown["blocklist"]["allowed"] == len(rules)
        async with asyncio.timeout(20):
            # what was just asked for becomes an alert a moment later
            while not await _incidents_agree(plane, admin):
                await asyncio.sleep(0.2)
        assert shown["mode"]["mode"] == (await admin.get("/system/security/mode")).json()["mode"]
    finally:
        await asker.post(f"/system/security/actions/{asked['id']}/cancel", json={})


async def _incidents_agree(plane: Plane, admin: httpx.AsyncClient) -> bool:
    shown = (await look(plane, admin))["incidents"]
    ours = ("policy.", "decoy.", "honeypot.", "security.", "action.")
    alerts = [
        one
        for status in ("open", "acknowledged")
        for one in await everything(admin, "/system/alerts", status=status)
        if one["name"].startswith(ours)
    ]
    found = {
        (one["severity"], status): one[status] for one in shown["by_severity"] for status in ("open", "acknowledged")
    }
    listed = Counter((one["severity"], one["status"]) for one in alerts)
    return +Counter(found) == listed and {one["id"] for one in shown["newest"]} <= {one["id"] for one in alerts}


async def test_what_is_counted_is_rolled_up_once(plane: Plane, admin: httpx.AsyncClient) -> None:
    rollups = plane.runtime.features.dashboard.rollups
    await rollups.once()

    def failed(shown: Any) -> int:
        (trend,) = (one for one in shown["trends"] if one["metric"] == "failed_auth")
        return sum(point["count"] for point in trend["points"])

    before = failed(await look(plane, admin, "24h"))
    for _ in range(3):
        refused(await plane.client("vh_test_nobody").get("/api/sandboxes"), 401, "unauthenticated")
    await rollups.once()
    await rollups.once()
    shown = await look(plane, admin, "24h")
    assert failed(shown) - before == 3
    assert {len(one["points"]) for one in shown["trends"]} == {24}
    assert shown["failed_auth_per_minute"] == pytest.approx(failed(shown) / 1440)
    assert failed(await look(plane, admin, "7d")) >= failed(shown)


async def test_points_are_where_they_belong_and_old_ones_go(plane: Plane) -> None:
    db = plane.runtime.db
    begin = bucket_of(datetime(2001, 2, 3, 4, 57, tzinfo=UTC))
    assert begin == datetime(2001, 2, 3, 4, 55, tzinfo=UTC)
    for minutes, count in ((0, 1), (5, 2), (55, 4), (60, 8)):
        await db.run(store.add, begin + timedelta(minutes=minutes), {"dash-test": count})
        await db.run(store.add, begin + timedelta(minutes=minutes), {"dash-test": count})
    found = await db.read(store.trends, begin, timedelta(hours=1))
    assert [tuple(point) for point in found["dash-test"]] == [(begin, 14), (begin + timedelta(hours=1), 16)]
    assert await db.run(store.drop, begin + timedelta(hours=1)) == 3
    assert await db.run(store.drop, begin + timedelta(hours=2)) == 1


async def test_who_may_look(plane: Plane, issue: Issue, admin: httpx.AsyncClient) -> None:
    other = plane.client((await issue("dash-other", "sandbox:read"))["key"])
    refused(await other.get(PATH), 403, "forbidden")
    assert (await admin.get(PATH, params={"window": "2h"})).status_code == 422
