"""What operators do in a real browser: to all that match, by keys alone, and what they look at beforehand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.console.desk import HOSTILE, Desk
from tests.server.plane import Plane

pytestmark = pytest.mark.slow
PHONE = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}


@pytest.mark.timeout(180)
async def test_rules_that_match_are_lifted_together_after_a_look(desk: Desk, admin: httpx.AsyncClient) -> None:
    keys: list[str] = []
    for n in range(3):
        body = {"type": "ip", "value": f"198.51.100.{n}", "reason": "browser-many " + HOSTILE[:60]}
        made = await admin.post("/system/security/blocklist", json=body)
        assert made.status_code in (200, 201), made.text
        keys.append(made.json()["key"])
    page = desk.page
    await desk.open("blocklist?q=198.51.100")
    await page.click("summary:has-text('Do to all that match')")
    await page.click(".matching a:has-text('Delete')")
    await page.wait_for_selector("h1:has-text('3 that match')")
    assert await desk.grave() == []
    await page.click("button:has-text('Try it on all')")
    await page.wait_for_selector("text=It would work for 3 of 3")
    await desk.picture("all-that-match")
    await page.click("button:has-text('Delete: 3')")
    await page.wait_for_selector("text=Done for 3 of 3")
    assert await page.evaluate("window.hurt") is None
    for key in keys:
        assert (await admin.get(f"/system/security/blocklist/{quote(key)}")).status_code == 404


@pytest.mark.timeout(240)
async def test_a_long_action_shows_how_far_it_is_goes_on_by_itself_and_is_stopped(
    desk: Desk, admin: httpx.AsyncClient
) -> None:
    keys = [f"browser.step{n}" for n in range(130)]
    put = [{"op": "put", "key": key, "value": {"value": 1, "type": "integer"}} for key in keys]
    assert (await admin.post("/system/config/bulk", json={"operations": put})).status_code == 200
    page = desk.page
    try:
        for value, wanted in ((2, "Done for 130 of 130."), (3, "Stopped: done for")):
            await desk.open("all/config/set?q=browser.step")
            await page.fill("[name='*']", f'{{"value": {value}}}')
            if value == 3:
                # the second step waits until Stop has been pressed
                await page.route("**/console/all/**", lambda route: _stop_first(page, route))
            await page.click("button:has-text('Change members: 130')")
            await page.wait_for_selector(f"#steps:has-text('{wanted}')", timeout=90_000)
        values = [one["value"] for one in (await admin.get("/system/config?q=browser.step&limit=200")).json()["items"]]
        assert (values.count(3), values.count(2)) == (80, 50)
        assert await desk.grave() == []
    finally:
        gone = [{"op": "delete", "key": key} for key in keys]
        await admin.post("/system/config/bulk", json={"operations": gone})


async def _stop_first(page: Any, route: Any) -> None:
    told = "_told" in (route.request.post_data or "")
    if told and "_stop" not in route.request.post_data:
        # the page is held at this step: what is pressed now is heard before the next
        await page.click("[data-stop]")
    await route.continue_()


@pytest.mark.timeout(180)
async def test_approvals_go_on_at_the_next_row_by_keys_alone(desk: Desk, plane: Plane, issue: Issue) -> None:
    key = (await issue("browser-keys", "keys:write", role="operator"))["key"]
    asker = plane.client(key)
    held: list[str] = []
    for owner in ("nobody-a", "nobody-b"):
        body = {"arguments": {"owner": owner}, "reason": HOSTILE}
        answer = await asker.post("/system/admin/actions/key.revoke-owner", json=body)
        assert answer.status_code == 202, answer.text
        held.append(answer.headers["location"])
    page = desk.page
    # others of this control plane wait as well
    requester = (await asker.get(held[0])).json()["requested_by"]
    await desk.open(f"holds?{urlencode({'requester': requester})}")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("h2:has-text('Beside the last one')")
    await page.wait_for_selector("h2:has-text('What it would do now')")
    assert await desk.grave() == []
    await page.go_back()
    await page.keyboard.press("j")
    await page.keyboard.press("a")
    await page.wait_for_selector("dialog[open] h1:has-text('Approve')")
    await desk.picture("approve")
    await page.keyboard.type("fine by me")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("text=Done.")
    # the row below is where one goes on
    assert await page.evaluate("document.activeElement.tagName") == "TR"
    await page.keyboard.press("d")
    await page.wait_for_selector("dialog[open] h1:has-text('Deny')")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("text=Done.")
    states = {(await asker.get(path)).json()["state"] for path in held}
    assert "denied" in states
    assert states & {"approved", "executing", "succeeded", "failed"}
    assert await page.evaluate("window.hurt") is None


@pytest.mark.parametrize("desk", [{}, PHONE], ids=["desk", "phone-dark"], indirect=True)
async def test_windows_are_drawn_on_their_days(desk: Desk, admin: httpx.AsyncClient) -> None:
    begin = (datetime.now(UTC) + timedelta(days=1)).replace(hour=2, minute=0, second=0, microsecond=0)
    body = {
        "start": begin.isoformat(),
        "end": (begin + timedelta(hours=2)).isoformat(),
        "rrule": "FREQ=WEEKLY",
        "mode": "read_only",
        "reason": HOSTILE,
    }
    made = await admin.put("/system/maintenance/windows/browser-weekly", json=body)
    assert made.status_code in (200, 201), made.text
    try:
        await desk.open("maintenance")
        drawn = desk.page.locator(".plan-entry:has-text('browser-weekly')")
        assert await drawn.count() == 5
        assert (await drawn.first.inner_text()).startswith("02:00")
        assert await desk.too_wide() <= 0
        assert await desk.grave() == []
        if desk.page.viewport_size["width"] > 1000:
            await desk.picture("calendar")
        await desk.page.click("a:has-text('Later')")
        await desk.page.wait_for_selector("a:has-text('Today')")
        assert await drawn.count() == 5
    finally:
        await admin.delete("/system/maintenance/windows/browser-weekly")


@pytest.mark.parametrize("desk", [{}, PHONE], ids=["desk", "phone-dark"], indirect=True)
async def test_who_touched_what_and_when_is_seen(desk: Desk, admin: httpx.AsyncClient, plane: Plane) -> None:
    name = "browser-dmz"
    made = await admin.post("/system/security/honeypots", json={"name": name, "type": "other"})
    assert made.status_code == 201, made.text
    sensor = plane.client(made.json()["key"])
    now = datetime.now(UTC)
    events = [
        {"at": (now - timedelta(hours=hours)).isoformat(), "kind": "auth_attempt", "address": f"203.0.113.{hours}"}
        for hours in (1, 1, 5, 9)
    ]
    for n, event in enumerate(events):
        taken = await sensor.post("/system/security/honeypots/events", json={"items": [{**event, "id": str(n)}]})
        assert taken.status_code == 200, taken.text
    try:
        await desk.open("honeypots")
        row = desk.page.locator(f".heat tr:has-text('{name}')")
        assert await row.locator("td[class]:has(span)").count() == 3
        assert "203.0.113.5" in await desk.page.inner_text("main")
        assert await desk.too_wide() <= 0
        assert await desk.grave() == []
        if desk.page.viewport_size["width"] > 1000:
            await desk.picture("touched")
    finally:
        await admin.delete(f"/system/security/honeypots/{name}")


async def test_what_a_shadow_would_have_done_is_counted(desk: Desk, admin: httpx.AsyncClient) -> None:
    body = {"when": 'request.path == "/api/browser-shadow"', "action": "block", "shadow": True}
    made = await admin.put("/system/security/policies/browser-shadow", json=body)
    assert made.status_code in (200, 201), made.text
    try:
        await desk.open("policies")
        row = "tr:has-text('browser-shadow') >> nth=0"
        assert "0" in await desk.page.inner_text(row)
        await admin.get("/api/browser-shadow")
        await desk.open("policies")
        assert "1" in await desk.page.inner_text(f"{row} >> [data-label='would have done']")
    finally:
        await admin.delete("/system/security/policies/browser-shadow")
