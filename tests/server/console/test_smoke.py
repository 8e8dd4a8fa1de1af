"""The console in a real browser, in short: the pages an operator needs first, and what others do, live."""

from __future__ import annotations

import httpx
from tests.server.console.desk import HOSTILE, Desk

FIRST = ("", "sandboxes", "holds", "jobs", "alerts", "logs", "audit", "flags", "maintenance")


async def test_the_first_pages_open_and_live_changes_arrive(desk: Desk, admin: httpx.AsyncClient) -> None:
    """No fault of the page's console and no request off the site: the fixture asks for both."""
    for path in FIRST:
        answer = await desk.open(path)
        assert answer.status == 200, path
        assert await desk.page.evaluate("document.querySelectorAll('h1').length") == 1, path
        assert await desk.too_wide() <= 0, path
    await desk.open("alerts")
    await desk.page.wait_for_selector("#live:text-is('live')")
    await desk.page.mouse.move(0, 0)
    alert = {"name": "smoke-live", "severity": "info", "title": f"smoke-live {HOSTILE}"}
    await admin.post("/system/alerts", json=alert)
    await desk.page.wait_for_selector("td:has-text('smoke-live')", timeout=20_000)
    assert await desk.page.evaluate("window.hurt") is None
