"""What depends on the filters follows them in a real browser; what changed is said of the record that it is about."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import httpx
import pytest
from tests.server.console.desk import Desk

pytestmark = pytest.mark.slow
TOOL = "#tools a:text-is('Retry all that match')"
NOTE = ".stale-note"


async def filtered(page: Any, name: str) -> None:
    """Type a filter and wait until the table is that of it."""
    async with page.expect_response(lambda answer: f"name={name}" in answer.url):
        await page.fill(".filters [name=name]", name)
    await page.wait_for_selector(f"#tools a[href*='name={name}']")


async def test_what_acts_on_all_that_match_follows_the_filters(desk: Desk) -> None:
    page = desk.page
    await desk.open("jobs")
    await page.click("summary:text-is('Copy as a command')")
    await filtered(page, "one.only")
    assert await page.evaluate("document.activeElement.name") == "name"
    assert await page.get_attribute("#tools a:text-is('CSV')", "href") == "/console/jobs.csv?name=one.only"
    copied = [await each.inner_text() for each in await page.query_selector_all("#copies[open] code")]
    assert copied[0] == "valhalla job ls --name=one.only"
    assert copied[1].endswith("/system/jobs?name=one.only'")
    await page.click(TOOL)
    await page.wait_for_selector("dialog[open] form")
    assert await page.input_value("dialog [name=name]") == "one.only"
    await page.click("dialog [data-close]")
    await page.go_back()
    await page.wait_for_selector(f"{TOOL}:not([href*='one.only'])")
    assert page.url.endswith("/console/jobs")
    assert await page.input_value(".filters [name=name]") == ""


async def test_a_filter_that_is_not_in_the_table_yet_stops_what_acts_by_it(desk: Desk) -> None:
    page = desk.page
    await desk.open("jobs")
    held = asyncio.Event()

    async def hold(route: Any) -> None:
        await held.wait()
        # one that another replaced meanwhile is gone
        with contextlib.suppress(Exception):
            await route.continue_()

    await page.route("**/console/jobs?*", hold)
    await page.fill(".filters [name=name]", "too.soon")
    await page.click(TOOL)
    await page.wait_for_selector("#toasts .problem:has-text('does not show these filters yet')")
    assert await page.query_selector("dialog[open]") is None
    held.set()
    await page.wait_for_selector("#tools a[href*='name=too.soon']")
    await page.click(TOOL)
    await page.wait_for_selector("dialog[open] form")
    assert await page.input_value("dialog [name=name]") == "too.soon"


async def test_a_report_follows_its_filter_as_a_whole(desk: Desk) -> None:
    page = desk.page
    await desk.open("security")
    await page.select_option(".filters [name=window]", "7d")
    await page.wait_for_url("**/console/security?window=7d")
    assert "window=7d" in (await page.text_content("details.copies code") or "")


async def test_rows_are_sorted_by_what_they_mean(desk: Desk) -> None:
    page = desk.page
    # these rows are made up: what is live would put the real ones in their place
    await page.route("**/console/events?*", lambda route: route.fulfill(status=204))
    await desk.open("jobs")
    cells = {
        "b 999": '<span class="number" data-rank="999">999</span>',
        "c 1234": '<span class="number" data-rank="1234">1,234</span>',
        "d none": '<span class="none">—</span>',
        "a 2 ms": '<span class="number" data-rank="0.002">2 ms</span>',
    }
    rows = "".join(f"<tr><td>{name}</td><td>{cell}</td></tr>" for name, cell in cells.items())
    head = "".join(f'<th><button data-sort="{n}">by</button></th>' for n in (0, 1))
    table = f"<table data-rows><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    await page.evaluate("table => { document.querySelector('#rows').innerHTML = table; }", table)

    async def order() -> list[str]:
        return [await each.inner_text() for each in await page.query_selector_all("#rows tbody td:first-child")]

    await page.click("[data-sort='1']")
    assert await order() == ["a 2 ms", "b 999", "c 1234", "d none"]
    await page.click("[data-sort='1']")
    assert await order() == ["c 1234", "b 999", "a 2 ms", "d none"]
    await page.click("[data-sort='0']")
    assert await order() == ["a 2 ms", "b 999", "c 1234", "d none"]


@pytest.mark.parametrize("slug", ["jobs", "logs", "audit"])
async def test_a_page_is_looked_at_when_it_listens_and_read_again_after_the_connection_was_lost(
    desk: Desk, slug: str
) -> None:
    page = desk.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if f"/console/{slug}" in request.url else None)
    # by this nothing is found, and nobody adds to it
    query = {"jobs": "name=no.such", "logs": "category=no.such", "audit": "kind=no.such"}[slug]
    # what others do at the same time would be told here as well
    await page.route("**/console/events?*", _quiet)
    await desk.open(f"{slug}?{query}")
    # the stream has ended as soon as it was opened, and the browser waits before it opens another
    await page.wait_for_selector("#live:text-is('connection lost')")
    await page.mouse.move(0, 0)
    await page.wait_for_timeout(900)
    # read, and compared once with what there is when it listens
    assert len(asked) == 2, asked
    assert await page.query_selector(NOTE) is None
    async with page.expect_request(lambda request: f"/console/{slug}?" in request.url):
        pass


async def _quiet(route: Any) -> None:
    await route.fulfill(content_type="text/event-stream", body="retry: 2000\n\n")


@pytest.mark.timeout(120)
async def test_only_the_record_that_changed_is_said_to_have_changed(desk: Desk, admin: httpx.AsyncClient) -> None:
    paths: list[str] = []
    for n in range(2):
        body = {"environment": "browser", "service": f"browser-{n}", "version": "1", "start": True}
        made = await admin.post("/system/deployment", json=body)
        assert made.status_code == 201, made.text
        paths.append(f"/system/deployment/{made.json()['id']}")
    mine, other = paths
    page = desk.page
    await desk.open(f"deployments/{mine.rpartition('/')[2]}")
    await page.wait_for_selector("#live:text-is('live')")
    assert (await admin.post(f"{other}/transition", json={"to": "failed"})).status_code == 200
    await page.wait_for_timeout(2500)
    assert await page.query_selector(NOTE) is None
    assert (await admin.post(f"{mine}/transition", json={"to": "failed"})).status_code == 200
    await page.wait_for_selector(f"#record {NOTE}", timeout=10_000)
    await page.click(NOTE)
    await page.wait_for_selector("#record:has-text('failed')")
    assert await page.query_selector(NOTE) is None


@pytest.mark.timeout(120)
async def test_an_entry_of_a_registry_is_changed_by_its_own_revisions_only(
    desk: Desk, admin: httpx.AsyncClient
) -> None:
    mine, other = "/system/config/browser.mine", "/system/config/browser.other"
    page = desk.page
    try:
        for path in (mine, other):
            await admin.put(path, json={"value": 1, "type": "integer"})
        await desk.open("config/browser.mine")
        await page.wait_for_selector("#live:text-is('live')")
        await admin.put(other, json={"value": 2, "type": "integer"})
        await page.wait_for_timeout(2500)
        assert await page.query_selector(NOTE) is None
        await admin.put(mine, json={"value": 2, "type": "integer"})
        await page.wait_for_selector(f"#record {NOTE}", timeout=10_000)
    finally:
        for path in (mine, other):
            await admin.delete(path)
