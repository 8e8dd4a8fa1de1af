"""What a person meets who has not all rights, whose session is over, or whose control plane lost its database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.conftest import Servers
from tests.server.conftest import Issue
from tests.server.console.desk import Desk
from tests.server.plane import Plane, running
from tests.server.proxy import Proxy
from tests.server.serving import serving

from valhalla.embedded import Endpoints
from valhalla.kit import natsauth
from valhalla.kit.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture
async def away(plane: Plane, servers: Servers, tmp_path: Any) -> AsyncIterator[tuple[str, Plane, Proxy]]:
    """A control plane whose way to Postgres can be cut: its site, itself, and the way."""
    control = plane.runtime.db.dsn
    way = Proxy(control)
    await way.open()
    settings = Settings.model_validate(
        {
            "data_dir": tmp_path,
            "database_url": way.url(control),
            "valkey_url": servers.endpoints.valkey_url,
            "nats_url": servers.endpoints.nats_url,
            "nats_operator_seed": natsauth.operator_key(servers.cell).seed,
            "nats_system_creds": natsauth.system_creds(servers.cell),
            "reap_interval": timedelta(days=1),
            "access_log": False,
        }
    )
    async with running(settings, servers.cell, Endpoints()) as another, serving(another.app) as address:
        yield f"http://{address}", another, way
        await way.cut()


@pytest.mark.timeout(180)
async def test_a_database_that_is_away_is_said_and_waited_for(chromium: Any, away: tuple[str, Plane, Proxy]) -> None:
    site, another, way = away
    context = await chromium.new_context()
    desk = Desk(await context.new_page(), site)
    await desk.sign_in(await another.admin_key())
    await desk.open("flags")
    await way.cut()
    answer = await desk.page.reload()
    assert answer.status == 503
    assert "asks again" in await desk.page.inner_text("main")
    assert "Postgres cannot be reached" in await desk.page.inner_text("main")
    assert await desk.grave() == []
    # nobody presses anything
    await way.open()
    await desk.page.wait_for_selector("h1:has-text('Flags')", timeout=60_000)
    desk.forgive("503", "ERR_", "500")
    assert desk.faults == []
    await context.close()


async def test_a_wrong_key_is_told_as_such(site: str, chromium: Any) -> None:
    context = await chromium.new_context()
    desk = Desk(await context.new_page(), site)
    await desk.open("login")
    await desk.page.fill("#key", "vh_local_" + "a" * 54)
    await desk.page.keyboard.press("Enter")
    await desk.page.wait_for_selector(".problem:has-text('no valid API key')")
    assert await desk.grave() == []
    desk.forgive("401")
    assert desk.faults == []
    await context.close()


async def test_a_session_that_ends_leads_back_to_where_one_was(
    desk: Desk, admin: httpx.AsyncClient, issue: Issue
) -> None:
    first, second = await issue("browser-ends", role="viewer"), await issue("browser-again", role="viewer")
    await desk.page.context.clear_cookies()
    await desk.sign_in(first["key"])
    await desk.open("flags?q=x")
    await admin.delete(f"/system/api-clients/{first['id']}")
    await desk.page.reload()
    await desk.page.fill("#key", second["key"])
    await desk.page.keyboard.press("Enter")
    await desk.page.wait_for_url("**/console/flags?q=x")


async def test_few_rights_show_few_things_and_no_dead_ends(desk: Desk, issue: Issue) -> None:
    issued = await issue("browser-few", "flags:read")
    await desk.page.context.clear_cookies()
    await desk.sign_in(issued["key"])
    links = await desk.page.eval_on_selector_all("nav a", "each => each.map(one => one.getAttribute('href'))")
    assert "/console/flags" in links
    assert "/console/clients" not in links
    for link in links:
        answer = await desk.page.goto(desk.base + link)
        assert answer.status == 200, link
        assert await desk.page.query_selector("main .problem") is None, link
    answer = await desk.open("clients")
    assert answer.status == 403
    assert "api-clients:read" in await desk.page.inner_text("main") or "scope" in await desk.page.inner_text("main")
    desk.forgive("403")
