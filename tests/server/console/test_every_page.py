"""Every page of the console, in a real browser: it loads, its button works, others' changes appear, by keys, small.

A page without a row in ``page_rows`` fails here.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.console.desk import Desk
from tests.server.console.page_rows import ROWS
from tests.server.console.rows import Made, Row, World
from tests.server.plane import Plane

from valhalla.server.console import PAGES

pytestmark = pytest.mark.slow
PATIENCE = 20_000


@pytest.fixture
async def world(plane: Plane, admin: httpx.AsyncClient, issue: Issue) -> AsyncIterator[World]:
    world = World(plane, admin, issue)
    yield world
    await world.tidy()


def test_every_page_has_its_row() -> None:
    assert {page.slug for page in PAGES} == set(ROWS)


@pytest.mark.parametrize("slug", [page.slug for page in PAGES])
@pytest.mark.timeout(240)
async def test_the_page_works(desk: Desk, world: World, slug: str) -> None:
    row, page = ROWS[slug], desk.page
    first = await row.make(world, 0)
    answer = await desk.open(slug + row.query)
    assert answer.status == 200
    await page.wait_for_selector(f"#rows:has-text('{first.text}')")
    await _live(desk, world, row, slug)
    await _fits(desk, slug)
    await desk.open(slug + row.query)
    await row.act(world, desk, first)
    await _keys(desk, row, slug)


async def _live(desk: Desk, world: World, row: Row, slug: str) -> Made:
    """What another person does meanwhile is shown, and nobody loaded the page anew."""
    page = desk.page
    await page.wait_for_selector("#live:text-is('live')")
    await page.mouse.move(0, 0)
    await page.evaluate("() => { window.before = true; document.querySelector('#rows').dataset.before = 'yes'; }")
    made = await row.make(world, 1)
    began = time.perf_counter()
    await page.wait_for_selector(f"#rows:not([data-before]):has-text('{made.text}')", timeout=PATIENCE)
    print(f"{slug}: {(time.perf_counter() - began) * 1000:.0f} ms until it is seen")
    assert await page.evaluate("window.before")
    return made


async def _fits(desk: Desk, slug: str) -> None:
    """With rows in it as well it fits a phone in the dark, and nobody is kept from using it."""
    page = desk.page
    size = page.viewport_size
    for width, scheme in ((360, "dark"), (1280, "light")):
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": width, "height": 740})
        assert await desk.too_wide() <= 0, f"{slug} scrolls sideways at {width}"
        assert await desk.grave() == [], (slug, width)
    await page.set_viewport_size(size)


async def _keys(desk: Desk, row: Row, slug: str) -> None:
    """A row is reached and opened, and the search is, without a mouse."""
    page = desk.page
    await desk.open(slug)
    if await page.query_selector(".filters input, [data-search]"):
        await page.keyboard.press("/")
        assert await page.evaluate("document.activeElement.tagName") == "INPUT"
        await page.evaluate("document.activeElement.blur()")
    if await page.query_selector("table[data-rows] tbody tr") is None:
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.className") == "skip"
        return
    await page.keyboard.press("j")
    assert await page.evaluate("document.activeElement.tagName") == "TR"
    if row.opens:
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".crumbs")
        assert await page.locator("main .problem").count() == 0
        assert await desk.grave() == [], slug
