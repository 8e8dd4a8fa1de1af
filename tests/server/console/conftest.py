"""The console through its application, and in a real browser on a real server: skipped where there is no Chromium."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from tests.server.console.desk import CHROMIUM, Desk
from tests.server.console.visitor import browser, sign_in
from tests.server.plane import Plane
from tests.server.serving import serving


@pytest.fixture(scope="session")
async def site(plane: Plane) -> AsyncGenerator[str]:
    async with serving(plane.app) as address:
        yield f"http://{address}"


@pytest.fixture(scope="session")
async def chromium() -> AsyncGenerator[Any]:
    """One browser for all; every test has a profile of its own."""
    playwright = pytest.importorskip("playwright.async_api")
    pytest.importorskip("axe_playwright_python.async_playwright")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    async with playwright.async_playwright() as started:
        browser = await started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
async def chief_key(plane: Plane) -> str:
    """The key of the operator who looks at the pages."""
    return await plane.admin_key()


@pytest.fixture
async def desk(site: str, chromium: Any, chief_key: str, request: pytest.FixtureRequest) -> AsyncGenerator[Desk]:
    """An operator's browser, signed in."""
    context = await chromium.new_context(**getattr(request, "param", {}))
    desk = Desk(await context.new_page(), site)
    await desk.sign_in(chief_key)
    yield desk
    await context.close()
    assert desk.faults == []


@pytest.fixture(scope="module")
async def chief(plane: Plane) -> AsyncGenerator[httpx.AsyncClient]:
    """An operator's browser."""
    async with browser(plane) as client:
        await sign_in(client, await plane.admin_key())
        yield client
