"""What is too much or too large, whose turn it is, and what is not tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.sandbox.routing.discord.scene import Scene, first

from valhalla.sandbox.contracts import Sandbox

pytestmark = pytest.mark.slow


async def test_a_limit_of_discords_holds_for_all_bots_together(scene: Scene) -> None:
    """After a 429 nothing is sent before its time, whoever's it is."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    path = f"/channels/{first(home)}/messages"
    scene.fake.limit("POST", "/channels/{channel_id}/messages", 2, 60.0)
    found = [await scene.ask(box, "POST", path, {"content": "x"}) for _ in range(5)]

    assert [status for status, _ in found] == [200, 200, 429, 429, 429]
    assert 50 < found[2][1]["retry_after"] <= 60
    # the third was known to be too many: Discord was not asked
    assert scene.sent() == [("POST", path)] * 2

    scene.fake.throttle(60.0, scope="global")
    assert (await scene.ask(box, "GET", f"/guilds/{home['id']}"))[0] == 429
    before = len(scene.fake.calls)
    stranger = await scene.sandbox()
    status, told = await scene.ask(stranger, "GET", "/users/@me")
    assert (status, told["global"]) == (429, True)
    assert len(scene.fake.calls) == before


async def test_an_answer_that_never_came_is_not_repeated(scene: Scene) -> None:
    """Nobody knows whether it was done: clients repeat after a 502, so this is none."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    assert (await scene.ask(box, "GET", f"/channels/{first(home)}"))[0] == 200

    async def broken(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(broken, "127.0.0.1", 0)
    scene.lock._upstream._base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v10"
    status, told = await scene.ask(box, "POST", f"/channels/{first(home)}/messages", {"content": "x"})
    server.close()
    assert status == 503
    assert "may have been done" in told["message"]
    status, told = await scene.ask(box, "POST", f"/channels/{first(home)}/messages", {"content": "x"})
    assert status == 503
    assert "nothing was sent" in told["message"]


async def test_bodies_are_bounded(scene: Scene) -> None:
    """Also those that do not say how long they are, and not one byte is read for nobody."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    path = f"/channels/{first(home)}/messages"

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 1_048_576

    kind = {"Content-Type": "application/json"}
    try:
        status, _ = await scene.ask(box, "POST", path, data=endless(), headers=kind)
    except aiohttp.ClientError:
        # it may have been closed before all was sent
        status = 413
    assert status == 413
    declared = f"POST /api/v10{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bot {scene.token(box)}\r\n"
    assert b" 413 " in await scene.raw(f"{declared}Content-Length: 99999999\r\n\r\n".encode())
    unknown = await scene.raw(f"POST /api/v10{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n".encode())
    assert b" 401 " in unknown
    assert scene.sent() == []


async def test_a_flood_of_one_bot_is_no_flood_of_the_ledger(scene: Scene) -> None:
    """Neither of pretended writes nor of those that have no turn; another's bot writes meanwhile."""
    home, second, other = (scene.fake.guild(name) for name in ("home", "second", "other"))
    box, quiet = await scene.sandbox(home), await scene.sandbox(second)
    scene.fake.limit("POST", "/channels/{channel_id}/messages", 1, 60.0)
    paths = [f"/channels/{first(guild)}/messages" for guild in (home, other)]
    assert (await scene.ask(box, "POST", paths[0], {"content": "x"}))[0] == 200

    async def patient(sandbox: Sandbox, path: str) -> tuple[int, Any]:
        # on a busy machine the routes may be unknown for a moment, as everybody is told
        while (answer := await scene.ask(sandbox, "POST", path, {"content": "x"}))[0] == 503:
            await asyncio.sleep(0.1)
        return answer

    found = await asyncio.gather(
        *(scene.ask(box, "POST", path, {"content": "x"}) for path in paths for _ in range(60)),
        patient(quiet, f"/channels/{first(second)}/messages"),
    )
    await scene.runtime.guard.carrier.once()
    page = await scene.runtime.db.read(scene.runtime.ledger.page, actor=f"sandbox:{box.id}", limit=200)
    pretended = sum(entry.action == "discord.pretended" for entry in page.items)

    assert found[-1][0] == 200
    assert {status for status, _ in found[:60]} - {503} == {429}
    assert pretended == sum(status == 200 for status, _ in found[60:120])
    assert sum(entry.action.startswith("action.") for entry in page.items) == 2
