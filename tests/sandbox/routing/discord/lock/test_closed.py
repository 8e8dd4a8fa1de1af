"""When the lock lets nothing be written: no claim, an ended sandbox, or nobody who could say."""

from __future__ import annotations

import asyncio

import pytest
from tests.sandbox.plane import Team
from tests.sandbox.routing.discord.scene import Scene, first, locked

from valhalla.kit.db import Database
from valhalla.runtime import Runtime
from valhalla.testing.discord import FakeDiscord

pytestmark = pytest.mark.slow


async def test_copies_open_a_guild_for_reading_alone(scene: Scene) -> None:
    """What is written is pretended; what one could write with elsewhere is not shown."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home, mode="mirror")

    assert (await scene.ask(box, "GET", f"/channels/{first(home)}/messages"))[0] == 200
    assert (await scene.ask(box, "GET", f"/guilds/{home['id']}"))[0] == 200
    assert (await scene.ask(box, "POST", f"/channels/{first(home)}/messages", {"content": "x"}))[0] == 200
    for path in (f"/guilds/{home['id']}/webhooks", f"/channels/{first(home)}/webhooks"):
        assert (await scene.ask(box, "GET", path))[0] == 403
    assert scene.sent() == []
    assert not any("webhooks" in call.path for call in scene.fake.calls)


async def test_an_ended_sandbox_and_a_wrong_token_are_nobodys(scene: Scene) -> None:
    """Within the two seconds for which an answer is remembered."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    path = f"/channels/{first(home)}/messages"
    assert (await scene.ask(box, "POST", path, {"content": "x"}))[0] == 200
    proof = scene.token(box)
    for wrong in ("", proof, f"Bot {proof}x", f"Bot {scene.fake.token}", f"Bearer {proof}", f"Bot {proof} x"):
        status, _ = await scene.ask(None, "POST", path, {"content": "x"}, headers={"Authorization": wrong})
        assert status == 401
    assert scene.lock.counts["unauthorized"] == 6
    await scene.team.destroy(box.id)
    await asyncio.sleep(2.1)
    assert (await scene.ask(box, "POST", path, {"content": "late"}))[0] == 401
    assert (await scene.ask(box, "GET", "/users/@me"))[0] == 401
    assert all(call.body == {"content": "x"} for call in scene.fake.calls if call.method == "POST")


async def test_a_released_guild_is_closed_at_once(scene: Scene) -> None:
    """Also for a call that waits for its turn while the guild is given back."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    path = f"/channels/{first(home)}/messages"
    scene.fake.limit("POST", "/channels/{channel_id}/messages", 1, 1.0)
    assert (await scene.ask(box, "POST", path, {"content": "x"}))[0] == 200
    waiting = asyncio.create_task(scene.ask(box, "POST", path, {"content": "late"}))
    await asyncio.sleep(0.2)
    await scene.runtime.sandboxes.unlink(scene.team.principal, box.id, "discord.guild", home["id"])
    status, told = await waiting
    assert status == 503, told
    assert (await scene.ask(box, "GET", f"/guilds/{home['id']}"))[0] == 403
    assert len(scene.sent()) == 1


async def test_without_the_routes_nothing_passes(scene: Scene) -> None:
    """An ingress that has lost its lease knows nothing for sure."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    await scene.ingress.stop(patience=0)
    assert (await scene.ask(box, "POST", f"/channels/{first(home)}/messages", {"content": "x"}))[0] == 503
    assert (await scene.ask(box, "GET", f"/guilds/{home['id']}"))[0] == 503
    assert scene.sent() == []


async def test_without_the_guards_store_nothing_is_written(runtime: Runtime, team: Team, fake: FakeDiscord) -> None:
    """What could not be noted is not sent, not even the answer to a slash command; reading goes on."""
    async with locked(runtime, team, fake, guard_url="postgresql://nobody:x@127.0.0.1:1/nothing") as scene:
        home = fake.guild("home")
        box = await scene.sandbox(home)
        asked = await fake.interaction("ping", guild=home)
        assert (await scene.ask(box, "POST", f"/channels/{first(home)}/messages", {"content": "x"}))[0] == 503
        callback = f"/interactions/{asked.document['id']}/{asked.token}/callback"
        assert (await scene.ask(None, "POST", callback, {"type": 5}))[0] == 503
        assert (await scene.ask(box, "GET", f"/guilds/{home['id']}"))[0] == 200
        assert scene.sent() == []


async def test_without_the_database_nobody_is_known(runtime: Runtime, team: Team, fake: FakeDiscord) -> None:
    """Which sandboxes run cannot be asked."""
    db = Database("postgresql://nobody:x@127.0.0.1:1/nothing")
    async with locked(runtime, team, fake, db=db) as scene:
        home = fake.guild("home")
        box = await scene.sandbox(home)
        assert (await scene.ask(box, "POST", f"/channels/{first(home)}/messages", {"content": "x"}))[0] == 503
        assert scene.sent() == []
    await db.close()
