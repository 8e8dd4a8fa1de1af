"""The first page: what waits for the person who looks, and the requests of the last hour."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.console.desk import Desk
from tests.server.console.visitor import browser, sign_in
from tests.server.plane import Plane

from valhalla.features.observability.health import Sample, store
from valhalla.kernel.principal import Principal
from valhalla.server.console.deciding import may_decide, tell_apart
from valhalla.server.numbers import numbers
from valhalla.server.traffic import TIMES, TOTAL, WITHIN

ASK = "/system/admin/actions/key.revoke-owner"


def hold(quorum: str | None = "1", by: str = "somebody", **members: Any) -> dict[str, Any]:
    return {"id": "h1", "state": "held", "requested_by": by, "quorum": quorum, "approvals": [], **members}


def decision(by: str, step: int = 0, said: str = "approve") -> dict[str, Any]:
    return {"by": by, "step": step, "decision": said}


def person(*scopes: str) -> Principal:
    return Principal(id="key-1", owner="ann", scopes=frozenset({"holds:approve", *scopes}))


@pytest.mark.parametrize(
    ("found", "scopes", "may"),
    [
        (hold(), (), True),
        (hold(None), (), True),
        (hold(state="approved"), (), False),
        (hold("1 of finance"), (), False),
        (hold("1 of finance"), ("role:finance",), True),
        (hold("1 of ops then 1 of finance"), ("role:finance",), True),
        (hold("1 of ops then 1 of finance", approvals=[decision("bob")]), ("role:ops",), False),
        (hold("1 of ops then 1 of finance", approvals=[decision("bob")]), ("role:finance",), True),
        (hold("2 of ops", approvals=[decision("bob")]), ("role:ops",), True),
        (hold("2 of ops", approvals=[decision("ann")]), ("role:ops",), False),
    ],
)
def test_who_may_decide(found: dict[str, Any], scopes: tuple[str, ...], may: bool) -> None:
    assert may_decide(person(*scopes), found) is may


def test_nobody_without_the_scope_decides() -> None:
    assert not may_decide(Principal(id="key-1", owner="ann", scopes=frozenset({"holds:read"})), hold())


def test_what_is_ones_own_is_told_apart() -> None:
    holds = [hold(by=by) for by in ("key-1", "key-2", "ann", "key-3")] + [hold("1 of finance")]
    waiting = tell_apart(person(), ["key-2"], holds)
    assert (waiting.mine, waiting.own, waiting.others) == ([holds[3]], 3, 1)


async def test_a_hold_waits_for_others_and_not_for_who_asked(
    chief: httpx.AsyncClient, plane: Plane, issue: Issue
) -> None:
    scopes = ("keys:write", "holds:approve")
    issued = [await issue("home-asker", *scopes, role="operator", name=f"home-{n}") for n in range(2)]
    held = await plane.client(issued[0]["key"]).post(ASK, json={"arguments": {"owner": "home-no"}, "reason": "home"})
    assert held.status_code == 202, held.text
    link = f'/console/holds/{held.headers["location"].rpartition("/")[2]}"'
    try:
        assert link in (await chief.get("/console/part/holds")).text
        # neither with the key that asked nor with another one
        for one in issued:
            async with browser(plane) as own:
                await sign_in(own, one["key"])
                for path in ("/console/", "/console/part/holds"):
                    page = (await own.get(path)).text
                    assert link not in page
                    assert "1 of your own waits for others." in page
    finally:
        await chief.get("/console/")
        await plane.client(await plane.admin_key()).post(f"{held.headers['location']}/cancel", json={})


def sampled(source: str, at: datetime, total: float) -> Sample:
    within = {WITHIN.format(bound): total for bound in TIMES if bound >= 0.01}
    return Sample(at, source, {TOTAL: total, **within})


async def test_requests_of_all_processes_are_added_up(chief: httpx.AsyncClient, plane: Plane) -> None:
    # before the process of this test took a sample of its own
    begin = datetime.now(UTC) - timedelta(minutes=50)
    samples = [
        sampled(source, begin + timedelta(seconds=offset + 10 * n), rate * 10 * n)
        for source, offset, rate in (("home-a", 1, 3), ("home-b", 7, 5))
        for n in range(30)
    ]
    await plane.runtime.db.run(store.add, samples)
    answer = await chief.get("/console/part/traffic")
    assert answer.headers["cache-control"] == "no-store"
    ended = (begin + timedelta(seconds=270)).timestamp()
    found = [one for one in answer.json()["items"] if begin.timestamp() + 60 < one["at"] < ended]
    assert len(found) >= 9
    for one in found:
        assert one["rate"] == pytest.approx(8, abs=0.05)
        assert one["p50"] == pytest.approx(0.0075)
    later = (await chief.get("/console/part/traffic", params={"after": int(found[3]["at"])})).json()["items"]
    assert [one for one in later if one["at"] < ended] == found[4:]


async def test_what_cannot_be_drawn_is_refused(chief: httpx.AsyncClient, plane: Plane, issue: Issue) -> None:
    assert (await chief.get("/console/part/traffic", params={"after": "soon"})).status_code == 422
    assert (await chief.get("/console/part/traffic", params={"after": "nan"})).status_code == 422
    async with browser(plane) as narrow:
        await sign_in(narrow, (await issue("home-narrow", "sandbox:read"))["key"])
        assert "data-charts" not in (await narrow.get("/console/")).text
        assert (await narrow.get("/console/part/traffic")).status_code == 403
    async with browser(plane) as stranger:
        answer = await stranger.get("/console/part/traffic", headers={"HX-Request": "true"})
        assert answer.status_code == 401


async def test_a_sample_counts_requests_by_their_times(plane: Plane, admin: httpx.AsyncClient) -> None:
    before = numbers(plane.runtime, None)
    for _ in range(3):
        await admin.get("/system/jobs")
    after = numbers(plane.runtime, None)
    assert after[TOTAL] - before[TOTAL] >= 3
    slowest = WITHIN.format(TIMES[-1])
    assert after[slowest] - before[slowest] >= 3
    counts = [after[WITHIN.format(bound)] for bound in TIMES]
    assert counts == sorted(counts)
    # what is more is not stored
    assert len(after) <= 30


@pytest.mark.slow
async def test_the_charts_go_on_by_themselves(desk: Desk, plane: Plane) -> None:
    now = datetime.now(UTC)
    begin = [sampled("home-live", now - timedelta(seconds=300 - 10 * n), 40.0 * n) for n in range(28)]
    await plane.runtime.db.run(store.add, begin)
    await desk.open("")
    await desk.page.wait_for_selector(".charts canvas")
    first = await desk.page.inner_text(".charts h3 >> nth=0")
    assert re.match(r"Requests per second: \d", first), first
    assert await desk.page.locator(".charts canvas").count() == 2
    assert await desk.too_wide() <= 0
    assert await desk.grave() == []
    source = [sampled("home-live", now - timedelta(seconds=20 - 10 * n), 1120.0 + 4000 * n) for n in range(1, 8)]
    async with desk.page.expect_response(lambda answer: "/part/traffic?after=" in answer.url, timeout=15_000) as told:
        await plane.runtime.db.run(store.add, source)
    assert (await told.value).status == 200
    await desk.page.wait_for_function(
        "first => document.querySelector('.charts h3').textContent !== first", arg=first, timeout=30_000
    )
