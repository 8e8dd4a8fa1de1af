"""What an ordinary bot sees of the lock, and what is noted of it: discord.py at the fake Discord."""

from __future__ import annotations

from typing import Any

import pytest
from tests.sandbox.routing.discord.scene import Scene, first

import discord

pytestmark = pytest.mark.slow


async def test_a_bot_writes_in_its_guild_and_pretends_elsewhere(scene: Scene) -> None:
    """Discord.py sees no difference; Discord never sees the other message, nor the bot's own token."""
    home, other = scene.fake.guild("home"), scene.fake.guild("other")
    box = await scene.sandbox(home)
    async with scene.bot(box) as bot:
        for _ in range(2):
            sent = await bot.get_partial_messageable(int(first(home))).send("hello", file=discord.File(__file__))
        pretended = await bot.get_partial_messageable(int(first(other))).send("never")
        await pretended.edit(content="changed")
        await pretended.add_reaction("👍")
        await pretended.delete()
        channel = await bot.fetch_channel(int(first(home)))
        with pytest.raises(discord.Forbidden):
            await bot.fetch_channel(int(first(other)))
        with pytest.raises(discord.Forbidden):
            await bot.fetch_guild(int(other["id"]))
        guilds = [guild.id async for guild in bot.fetch_guilds()]

    assert sent.attachments
    assert sent.content == "hello"
    assert pretended.content == "never"
    assert pretended.id > sent.id
    assert channel.id == int(first(home))
    assert guilds == [int(home["id"])]
    assert scene.sent() == [("POST", f"/channels/{first(home)}/messages")] * 2
    assert {call.token for call in scene.fake.calls} == {scene.fake.token}
    assert not any(other["id"] in call.path for call in scene.fake.calls)


async def test_each_write_is_in_the_ledger_without_what_it_said(scene: Scene) -> None:
    """Those that were sent and those that were pretended; no body, no token."""
    home, other = scene.fake.guild("home"), scene.fake.guild("other")
    box = await scene.sandbox(home)
    asked = await scene.fake.interaction("ping", guild=home)
    for guild in (home, other):
        await scene.ask(box, "POST", f"/channels/{first(guild)}/messages", {"content": "whispered"})
    reply = {"type": 4, "data": {"content": "whispered"}}
    status, _ = await scene.ask(None, "POST", f"/interactions/{asked.document['id']}/{asked.token}/callback", reply)
    await scene.runtime.guard.carrier.once()
    page = await scene.runtime.db.read(scene.runtime.ledger.page, actor=f"sandbox:{box.id}", limit=50)
    told = [entry.action for entry in page.items]
    everything = " ".join(str(entry) for entry in page.items)

    assert status in (200, 204)
    assert sorted(told) == ["action.begin", "action.finish", "discord.pretended"]
    assert everything.count("discord.write") == 2
    assert f"POST /channels/{first(home)}/messages" in everything
    assert "whispered" not in everything
    assert scene.token(box) not in everything
    assert asked.token not in everything


async def test_a_slash_command_is_answered_in_time(scene: Scene) -> None:
    """By discord.py, which shows no bot token there; the fake refuses it after Discord's three seconds."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    async with scene.bot(box) as bot:
        asked = await scene.fake.interaction("ping", guild=home)
        made: Any = discord.Interaction(data=asked.document, state=bot._connection)  # type: ignore[arg-type]
        await made.response.send_message("pong")
        await made.followup.send("and more")
        await made.edit_original_response(content="changed")

    assert asked.callback is not None
    assert asked.callback["data"]["content"] == "pong"
    assert [one["content"] for one in asked.followups] == ["and more"]


async def test_global_commands_become_those_of_the_guild(scene: Scene) -> None:
    """A sync of discord.py's tree, as every bot makes it at its start."""
    home, second, other = (scene.fake.guild(name) for name in ("home", "second", "other"))
    box = await scene.sandbox(home, second)
    async with scene.bot(box) as bot:
        tree = discord.app_commands.CommandTree(bot)

        @tree.command(name="ping", description="x")
        async def ping(_: discord.Interaction) -> None: ...

        synced = await tree.sync()
        fetched = await tree.fetch_commands()
    async with scene.bot(await scene.sandbox()) as bot:
        tree = discord.app_commands.CommandTree(bot)
        tree.add_command(ping)
        nowhere = await tree.sync()

    application = scene.fake.user["id"]
    assert [one.name for one in synced] == [one.name for one in fetched] == [one.name for one in nowhere] == ["ping"]
    assert sorted(path.split("/")[-2] for _, path in scene.sent()) == sorted([home["id"], second["id"]])
    assert not any(path == f"/applications/{application}/commands" for _, path in scene.sent("PUT", "POST", "GET"))
    assert not any(other["id"] in call.path for call in scene.fake.calls)


async def test_an_answer_to_a_command_waits_for_one_note_alone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it begins is noted before; Discord has the answer before it is noted that this has ended."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    asked = await scene.fake.interaction("ping", guild=home)
    store: Any = scene.guard.store
    ends, had = store.acas, list[bool]()

    async def end(request: Any) -> Any:
        had.append(asked.callback is not None)
        return await ends(request)

    monkeypatch.setattr(store, "acas", end)
    callback = f"/interactions/{asked.document['id']}/{asked.token}/callback"
    assert (await scene.ask(box, "POST", callback, {"type": 5}))[0] in (200, 204)
    assert had == [True]
