"""The console in Chromium: how soon a page is seen and how much of it is sent, before a million rows as well.

Every page is loaded with an empty cache, as the first one of a person is; all in turns, in an order drawn anew each
round. The floor is a file of the same server that is shown by itself: what server, loopback and browser take anyway.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import sandboxes
from bench.plane import control, down, folder, up
from bench.report import figure, publish

_ROUNDS = int(os.environ.get("BENCH_ROUNDS", "15"))
_ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
# milliseconds until something is seen, and what is sent until then in kB
_SEEN, _SENT = 300.0, 150.0
_FLOOR, _HOME = "a file alone", "first page"
_PAGES = {
    _HOME: "console/",
    "login": "console/login",
    "audit, a million entries": "console/audit",
    "audit of one actor among a million": "console/audit?actor=client-7",
    "logs, a million lines": "console/logs",
    "logs, one category of a million": "console/logs?category=large.3",
    "jobs, none": "console/jobs",
}
_SEEDS = (
    f"""INSERT INTO valhalla.system_logs (at, level, origin, category, message, principal, correlation_id, context)
        SELECT date_trunc('day', now()) + n * interval '1 ms', 20 + 10 * (n % 50 = 0)::int, 'server',
            'large.' || n % 20, 'line ' || n || ' of many', 'client-' || n % 500, 'r' || n, '{{"n": 1}}'
        FROM generate_series(1, {_ROWS}) n""",
    f"""INSERT INTO valhalla.ledger_entries (at, actor, action, kind, subject, details, nonce, mac)
        SELECT now() - n * interval '1 s', 'client-' || n % 500, 'sandbox.' || n % 7, 'sandbox', 's' || n % 10000,
            '{{}}', decode(md5(n::text), 'hex'), '\\x00'
        FROM generate_series(1, {_ROWS}) n""",
    "VACUUM ANALYZE valhalla.system_logs",
)
# a million entries in one instant keep who seals them busy for minutes, which nobody's console meets
_UNSEALED = "SELECT count(*) FROM valhalla.ledger_entries WHERE seq IS NULL"
_SEALED = "VACUUM ANALYZE valhalla.ledger_entries"
_MEASURE = """() => {
    const page = performance.getEntriesByType('navigation')[0];
    const files = performance.getEntriesByType('resource');
    const seen = performance.getEntriesByName('first-contentful-paint')[0];
    return {
        answered: page.responseEnd,
        parsed: page.domContentLoadedEventEnd,
        seen: seen ? seen.startTime : page.loadEventEnd,
        sent: [page, ...files].reduce((sum, each) => sum + each.transferSize, 0) / 1000,
        files: files.length,
    };
}"""
Loads = Mapping[str, list[dict[str, float]]]


def run() -> None:
    """Start a control plane, fill it, look at it and publish."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None or importlib.util.find_spec("playwright") is None:
        print("\nconsole: skipped, it needs Chromium (apt-get install chromium) and the package playwright")
        return
    with folder() as data_dir:
        up(data_dir)
        try:
            loads = asyncio.run(_measure(data_dir, chromium))
        finally:
            down(data_dir)
    figures = [figure(f"{name}: seen after", "ms", _of(loads, name, "seen"), _goal(name, _SEEN)) for name in loads]
    figures += [figure(f"{name}: answered after", "ms", _of(loads, name, "answered")) for name in loads]
    figures += [figure(f"{name}: sent", "kB", _of(loads, name, "sent"), _goal(name, _SENT)) for name in loads]
    floors = _of(loads, _FLOOR, "seen")
    figures += [
        figure(
            f"{name}: beside the floor", "ratio", [a / b for a, b in zip(_of(loads, name, "seen"), floors, strict=True)]
        )
        for name in _PAGES
    ]
    publish("Console: pages in Chromium, beside a file of the same server", figures)


def _of(loads: Loads, name: str, what: str) -> list[float]:
    return [each[what] for each in loads[name]]


def _goal(name: str, goal: float) -> float | None:
    return None if name == _FLOOR else goal


async def _measure(data_dir: Path, chromium: str) -> Loads:
    from playwright.async_api import async_playwright

    connection = await sandboxes.connect(data_dir)
    try:
        for seed in _SEEDS:
            await connection.execute(seed, timeout=600)
        while await connection.fetchval(_UNSEALED):
            await asyncio.sleep(1)
        await connection.execute(_SEALED, timeout=600)
    finally:
        await connection.close()
    base = control(data_dir)["url"]
    key = (data_dir / "admin.key").read_text().strip()
    async with async_playwright() as started:
        browser = await started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            state, file = await _sign_in(browser, base, key)
            pages = {_FLOOR: file, **{name: f"{base}/{path}" for name, path in _PAGES.items()}}
            loads: dict[str, list[dict[str, float]]] = {name: [] for name in pages}
            for number in range(_ROUNDS + 1):
                for name in random.sample(list(pages), len(pages)):
                    found = await _load(browser, pages[name], None if name == "login" else state)
                    # the first round warms
                    if number:
                        loads[name].append(found)
            return loads
        finally:
            await browser.close()


async def _sign_in(browser: Any, base: str, key: str) -> tuple[Any, str]:
    """Return what a signed-in browser keeps, and the address of a file."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{base}/console/login")
    await page.fill("#key", key)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/console/")
    state, file = await context.storage_state(), await page.get_attribute("link[rel=icon]", "href")
    await context.close()
    return state, f"{base}{file}"


async def _load(browser: Any, address: str, state: Any) -> dict[str, float]:
    context = await browser.new_context(storage_state=state)
    try:
        page = await context.new_page()
        answer = await page.goto(address, wait_until="load")
        assert answer is not None, address
        assert answer.status == 200, (address, answer.status)
        # paints are told of a little later
        await page.wait_for_timeout(100)
        return await page.evaluate(_MEASURE)
    finally:
        await context.close()
