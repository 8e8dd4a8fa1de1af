"""Every page of the console in a real browser: by mouse, by keys, on a phone, live."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.console.desk import HOSTILE, Desk
from tests.server.plane import Plane

from valhalla.server.console import PAGES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "desk",
    [
        {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"},
        {"viewport": {"width": 1280, "height": 800}},
        {"viewport": {"width": 3840, "height": 2160}},
    ],
    ids=["phone-dark", "desk", "4k"],
    indirect=True,
)
@pytest.mark.timeout(400)
async def test_every_page_fits_and_has_names_for_everything(desk: Desk) -> None:
    for path in ("", *(page.slug for page in PAGES)):
        answer = await desk.open(path)
        assert answer.status == 200, path
        assert await desk.too_wide() <= 0, f"{path} scrolls sideways"
        nameless = await desk.page.evaluate(
            """() => [...document.querySelectorAll('button, a[href], input:not([type=hidden]), select, textarea')]
            .filter(each => !(each.textContent || '').trim() && !each.labels?.length && !each.ariaLabel && !each.title)
            .map(each => each.outerHTML)"""
        )
        assert nameless == [], path
        assert await desk.page.evaluate("document.querySelectorAll('h1').length") == 1, path
        if desk.page.viewport_size["width"] > 2000:
            # what a screen reader meets does not depend on the size
            continue
        assert await desk.grave() == [], path


async def test_what_others_do_appears_by_itself(desk: Desk, admin: httpx.AsyncClient) -> None:
    await desk.open("alerts")
    await desk.page.wait_for_selector("#live:text-is('live')")
    await desk.page.mouse.move(0, 0)
    await admin.post("/system/alerts", json={"name": "browser-live", "severity": "info", "title": "browser-live"})
    await desk.page.wait_for_selector("td:has-text('browser-live')", timeout=10_000)


async def test_nothing_changes_under_the_cursor(desk: Desk, admin: httpx.AsyncClient) -> None:
    await admin.post("/system/alerts", json={"name": "browser-still", "severity": "info", "title": "browser-still"})
    await desk.open("alerts")
    await desk.page.wait_for_selector("#live:text-is('live')")
    await desk.page.hover("tbody tr >> nth=0")
    await admin.post("/system/alerts", json={"name": "browser-late", "severity": "info", "title": "browser-late"})
    note = await desk.page.wait_for_selector(".stale-note", timeout=10_000)
    assert await desk.page.query_selector("td:has-text('browser-late')") is None
    await note.click()
    await desk.page.wait_for_selector("td:has-text('browser-late')", timeout=10_000)


async def test_a_sandbox_is_made_opened_and_destroyed(desk: Desk) -> None:
    page = desk.page
    await desk.open("sandboxes")
    await page.click("text=New sandbox")
    await page.fill("dialog [name=name]", "browser-made")
    await page.click("dialog button:has-text('New sandbox')")
    await page.wait_for_selector("text=How to connect")
    assert "postgresql://" in await page.inner_text("main")
    await desk.open("sandboxes")
    await page.click("a:has-text('browser-made')")
    await page.wait_for_selector("h1:has-text('browser-made')")
    assert "healthy" in await page.inner_text("main")
    await page.click("a:has-text('Extend')")
    await page.fill("dialog [name=ttl]", "nonsense")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".problem")
    await page.fill("[name=ttl]", "2h")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("text=Done.")
    await desk.open("sandboxes")
    await page.click("a:has-text('browser-made')")
    await page.click("a:has-text('Destroy')")
    await page.click("dialog button:has-text('Destroy')")
    await page.wait_for_selector("text=Done.")
    # a refused form is told by the browser's console, too
    desk.forgive("422")


async def test_approvals_are_decided_by_keys_alone(desk: Desk, plane: Plane, issue: Issue) -> None:
    key = (await issue("browser-asker", "keys:write", role="operator"))["key"]
    body = {"arguments": {"owner": "nobody-at-all"}, "reason": HOSTILE}
    held = await plane.client(key).post("/system/admin/actions/key.revoke-owner", json=body)
    assert held.status_code == 202, held.text
    # others of this control plane wait as well
    asker = (await plane.client(key).get(held.headers["location"])).json()["requested_by"]
    await desk.open(f"holds?{urlencode({'requester': asker})}")
    await desk.page.keyboard.press("j")
    assert await desk.page.evaluate("document.activeElement.tagName") == "TR"
    await desk.page.keyboard.press("d")
    await desk.page.wait_for_selector("dialog[open] h1:has-text('Deny')")
    assert await desk.page.evaluate("window.hurt") is None
    await desk.page.keyboard.type("not today")
    await desk.page.keyboard.press("Enter")
    await desk.page.wait_for_selector("text=Done.")
    after = await plane.client(key).get(held.headers["location"])
    assert after.json()["state"] == "denied"


async def test_a_lost_connection_is_shown_and_opened_again(desk: Desk) -> None:
    await desk.page.route("**/console/events*", lambda route: route.abort())
    await desk.open("alerts")
    await desk.page.wait_for_selector("#live:text-is('connection lost')")
    await desk.page.unroute("**/console/events*")
    await desk.page.wait_for_selector("#live:text-is('live')")
    # the browser tells of the connections that we cut
    desk.forgive("ERR_FAILED")


async def test_a_hidden_page_takes_up_again_behind_the_last_event(desk: Desk, admin: httpx.AsyncClient) -> None:
    await desk.open("alerts")
    await desk.page.wait_for_selector("#live:text-is('live')")
    await desk.page.mouse.move(0, 0)
    await admin.post("/system/alerts", json={"name": "browser-seen", "severity": "info", "title": "browser-seen"})
    await desk.page.wait_for_selector("td:has-text('browser-seen')", timeout=10_000)
    hide = """(hidden) => {
        Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
        document.dispatchEvent(new Event('visibilitychange'));
    }"""
    await desk.page.evaluate(hide, True)
    await admin.post("/system/alerts", json={"name": "browser-missed", "severity": "info", "title": "browser-missed"})
    async with desk.page.expect_request(lambda asked: "/console/events?" in asked.url and "after=" in asked.url):
        await desk.page.evaluate(hide, False)
    await desk.page.wait_for_selector("td:has-text('browser-missed')", timeout=10_000)


async def test_the_theme_is_kept(desk: Desk) -> None:
    await desk.page.emulate_media(color_scheme="light")
    await desk.open("")
    await desk.page.click("[data-theme]")
    assert await desk.page.evaluate("document.documentElement.dataset.theme") == "dark"
    await desk.open("flags")
    assert await desk.page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert await desk.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 26)"


async def test_a_table_is_filtered_sorted_and_searched_by_keys(desk: Desk, admin: httpx.AsyncClient) -> None:
    names = ["browser.b", "browser.c", "browser.a"]
    for number, name in enumerate(names):
        await admin.put(f"/system/config/{name}", json={"value": number, "type": "integer"})
    try:
        page = desk.page
        await desk.open("config")
        await page.keyboard.press("/")
        await page.keyboard.type("browser.")
        await page.wait_for_url("**q=browser.*")
        await page.wait_for_selector("tr:nth-child(3):last-child")
        await page.click("th button:has-text('value')")
        await page.wait_for_selector("th[aria-sort=ascending]:has-text('value')")
        for number, name in enumerate(names, 1):
            await page.wait_for_selector(f"tbody tr:nth-child({number}):has-text('{name}')")
    finally:
        for name in names:
            await admin.delete(f"/system/config/{name}")


async def test_who_is_signed_out_meanwhile_is_led_to_the_login(
    desk: Desk, plane: Plane, admin: httpx.AsyncClient, issue: Issue
) -> None:
    issued = await issue("browser-revoked", role="viewer")
    await desk.page.context.clear_cookies()
    await desk.sign_in(issued["key"])
    await desk.open("flags")
    await desk.page.wait_for_selector("#live:text-is('live')")
    await admin.delete(f"/system/api-clients/{issued['id']}")
    await asyncio.sleep(0.1)
    await desk.open("flags")
    await desk.page.wait_for_selector("#key")
