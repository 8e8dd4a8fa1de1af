"""``valhalla top`` in a terminal, on a real server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
from tests.server.conftest import Issue
from tests.server.plane import Plane
from tests.server.proxy import Proxy
from tests.server.serving import serving
from tests.server.terminal import ENTERED, LEFT, Terminal

ACTION = "key.revoke-owner"


@asynccontextmanager
async def watching(url: str, key: str) -> AsyncGenerator[Terminal]:
    terminal = Terminal("top", "--interval", "0.5", VALHALLA_URL=url, VALHALLA_API_KEY=key)
    try:
        yield terminal
    finally:
        terminal.close()


async def propose(plane: Plane, issue: Issue, owner: str) -> tuple[str, str]:
    """Have a client of ``owner`` propose what needs people; return the hold and the client, as the screen names it."""
    client = await issue(owner, "admin")
    body = {"arguments": {"owner": f"{owner}-nobody"}, "reason": "a test of the terminal"}
    asked = await plane.client(client["key"]).post(f"/system/admin/actions/{ACTION}", json=body)
    assert asked.status_code == 202, asked.text
    return asked.json()["hold"], client["id"]


async def state_of(admin: httpx.AsyncClient, hold: str) -> str:
    return (await admin.get(f"/system/holds/{hold}")).json()["state"]


async def place_of(admin: httpx.AsyncClient, hold: str) -> int:
    """How often ``j`` leads to it: other tests may have left some."""
    items = (await admin.get("/system/holds", params={"limit": 20})).json()["items"]
    return [each["id"] for each in items].index(hold)


async def test_what_waits_is_approved_from_the_terminal(plane: Plane, issue: Issue, admin: httpx.AsyncClient) -> None:
    hold, asker = await propose(plane, issue, "top-asker")
    key = (await issue("top-chief", "admin"))["key"]
    async with serving(plane.app) as address, watching(f"http://{address}", key) as terminal:
        await terminal.shows(asker)
        assert terminal.modes() != terminal.before
        # all in one write: none of them may be lost
        asked = terminal.press("\x1b[B" * await place_of(admin, hold) + "a")
        await terminal.shows(f"approve admin.{ACTION} of {asker}? y: yes", asked)
        assert await state_of(admin, hold) == "held"
        said = terminal.press("y")
        await terminal.shows(f"{ACTION}: approved", said)
        found = (await admin.get(f"/system/holds/{hold}")).json()
        assert found["state"] != "held"
        assert [(each["by"], each["decision"]) for each in found["approvals"]] == [("top-chief", "approve")]
        terminal.press("q")
        assert await terminal.ends() == 0
        assert terminal.modes() == terminal.before
        assert (terminal.raw.count(ENTERED), terminal.raw.count(LEFT)) == (1, 1)
        assert "Traceback" not in terminal.raw


async def test_what_waits_is_denied_and_ctrl_c_leaves_nothing_behind(
    plane: Plane, issue: Issue, admin: httpx.AsyncClient
) -> None:
    hold, asker = await propose(plane, issue, "top-denied")
    key = (await issue("top-denier", "admin"))["key"]
    async with serving(plane.app) as address, watching(f"http://{address}", key) as terminal:
        await terminal.shows(asker)
        # also when typed ahead of the question
        terminal.press("j" * await place_of(admin, hold) + "d" + "n" + "d" + "y")
        await terminal.shows(f"{ACTION}: denied")
        assert await state_of(admin, hold) == "denied"
        terminal.press("\x03")
        assert await terminal.ends() == 130
        assert terminal.modes() == terminal.before
        assert terminal.raw.count(LEFT) == 1
        # the cursor is shown again, and nothing follows on the usual screen
        assert "\x1b[?25h" in terminal.raw
        assert "Traceback" not in terminal.raw.rpartition(LEFT)[2]


async def test_a_control_plane_that_goes_away_is_shown_and_picked_up_again(
    plane: Plane, issue: Issue, admin: httpx.AsyncClient
) -> None:
    key = (await issue("top-waiter", "admin"))["key"]
    async with serving(plane.app) as address:
        way = Proxy(f"http://{address}")
        await way.open()
        async with watching(f"http://127.0.0.1:{way.port}", key) as terminal:
            await terminal.shows("Waiting for approval")
            cut = len(terminal.raw)
            await way.cut()
            await terminal.shows("NO ANSWER", cut)
            await terminal.shows("asked again in", cut)
            _, asker = await propose(plane, issue, "top-back-again")
            await way.open()
            await terminal.shows(asker, cut)
            terminal.press("q")
            assert await terminal.ends() == 0
        await way.cut()


async def test_one_that_is_away_at_first_is_waited_for(plane: Plane, issue: Issue) -> None:
    key = (await issue("top-early", "admin"))["key"]
    async with serving(plane.app) as address:
        way = Proxy(f"http://{address}")
        await way.open()
        await way.cut()
        async with watching(f"http://127.0.0.1:{way.port}", key) as terminal:
            await terminal.shows("asked again in")
            await way.open()
            await terminal.shows("Waiting for approval")
            terminal.press("q")
            assert await terminal.ends() == 0
        await way.cut()


async def test_without_a_valid_key_it_cannot_begin(plane: Plane) -> None:
    async with serving(plane.app) as address, watching(f"http://{address}", "vh_local_none") as terminal:
        assert await terminal.ends() == 1
        assert terminal.modes() == terminal.before
        said = terminal.raw.rpartition(LEFT)[2]
        assert "Error:" in said
        assert "Traceback" not in said


async def test_a_key_that_is_revoked_meanwhile_is_shown(plane: Plane, issue: Issue, admin: httpx.AsyncClient) -> None:
    issued = await issue("top-revoked", "admin")
    async with serving(plane.app) as address, watching(f"http://{address}", issued["key"]) as terminal:
        await terminal.shows("Waiting for approval")
        revoked = len(terminal.raw)
        assert (await admin.delete(f"/system/api-clients/{issued['id']}")).status_code == 204
        await terminal.shows("asked again in", revoked)
        terminal.press("q")
        assert await terminal.ends() == 0
