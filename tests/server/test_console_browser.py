"""The console in a real browser on a real server; skipped where there is no Chromium."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane
from tests.server.serving import serving

from valhalla.server.console import PAGES

playwright = pytest.importorskip("playwright.async_api")
axe = pytest.importorskip("axe_playwright_python.async_playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]
# where pictures go if they are wanted
PICTURES = os.environ.get("VALHALLA_PICTURES")
HOSTILE = "<script>window.hurt=1</script><img src=x onerror=window.hurt=1>"


class Desk:
    """One page of a browser, and what went wrong in it."""

    def __init__(self, page: Any, base: str) -> None:
        self.page = page
        self.base = base
        self.faults: list[str] = []
        page.on("console", self._told)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", self._asked)

    async def open(self, path: str = "") -> Any:
        return await self.page.goto(f"{self.base}/console/{path}")

    async def sign_in(self, key: str) -> None:
        await self.open("login")
        await self.page.fill("#key", key)
        await self.page.keyboard.press("Enter")
        await self.page.wait_for_url("**/console/")

    def _told(self, message: Any) -> None:
        if message.type == "error":
            self.faults.append(message.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.base, "data:")):
            self.faults.append(f"asked {request.url}")


@pytest.fixture(scope="module")
async def site(plane: Plane) -> AsyncGenerator[str]:
    async with serving(plane.app) as address:
        yield f"http://{address}"


@pytest.fixture
async def desk(site: str, plane: Plane, request: pytest.FixtureRequest) -> AsyncGenerator[Desk]:
    """An operator's browser, signed in."""
    async with playwright.async_playwright() as started:
        browser = await started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(**getattr(request, "param", {}))
        desk = Desk(await context.new_page(), site)
        await desk.sign_in(await plane.admin_key())
        yield desk
        await browser.close()
    assert desk.faults == []


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
async def test_every_page_fits_and_has_names_for_everything(desk: Desk, request: pytest.FixtureRequest) -> None:
    for path in ("", *(page.slug for page in PAGES)):
        answer = await desk.open(path)
        assert answer.status == 200, path
        wide = await desk.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} scrolls sideways"
        nameless = await desk.page.evaluate(
            """() => [...document.querySelectorAll('button, a[href], input:not([type=hidden]), select, textarea')]
            .filter(each => !(each.textContent || '').trim() && !each.labels?.length && !each.ariaLabel && !each.title)
            .map(each => each.outerHTML)"""
        )
        assert nameless == [], path
        assert await desk.page.evaluate("document.querySelectorAll('h1').length") == 1, path
        if PICTURES and path in ("", "sandboxes", "flags", "alerts"):
            name = f"console-{path or 'home'}-{request.node.callspec.id}.png"
            await desk.page.screenshot(path=Path(PICTURES) / name)
        if desk.page.viewport_size["width"] > 2000:
            # what a screen reader meets does not depend on the size
            continue
        found = await axe.Axe().run(desk.page)
        grave = [each for each in found.response["violations"] if each["impact"] in ("serious", "critical")]
        told = [(each["id"], node["html"], node.get("failureSummary")) for each in grave for node in each["nodes"][:2]]
        assert told == [], path


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
    desk.faults = [fault for fault in desk.faults if "422" not in fault]


async def test_approvals_are_decided_by_keys_alone(desk: Desk, plane: Plane, issue: Issue) -> None:
    key = (await issue("browser-asker", "keys:write", role="operator"))["key"]
    body = {"arguments": {"owner": "nobody-at-all"}, "reason": HOSTILE}
    held = await plane.client(key).post("/system/admin/actions/key.revoke-owner", json=body)
    assert held.status_code == 202, held.text
    await desk.open("holds")
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
    desk.faults = [fault for fault in desk.faults if "ERR_FAILED" not in fault]


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
    async with desk.page.expect_request("**/console/events?after=*"):
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
