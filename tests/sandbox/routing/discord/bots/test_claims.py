"""Whose bot is told of a guild, and whose answers to it: real discord.py, over a real NATS."""

from __future__ import annotations

import asyncio
import random

import pytest
from tests.sandbox.routing.discord.bots.bot import Bot, running, severed
from tests.sandbox.routing.discord.scene import Scene, first, until

import discord
from valhalla.sandbox.routing.discord.gateway import Gateway

pytestmark = pytest.mark.slow


async def test_a_message_of_a_claimed_guild_is_the_sandbox_bots_alone(scene: Scene, reader: Gateway) -> None:
    """Both bots are discord.py as it comes; the sandbox's answer goes through the lock, production's to Discord."""
    home, other = scene.fake.guild("home"), scene.fake.guild("other")
    box = await scene.sandbox(home)
    mine, real = Bot(), Bot()
    async with running(mine, scene.token(box)), running(real, scene.fake.token):
        await until(lambda: "ready" in mine.happened and "ready" in real.happened)
        await scene.fake.message("hi", guild=home)
        await scene.fake.message("hi there", guild=other)
        sent = await scene.fake.called("POST", f"/channels/{first(home)}/messages")
        await until(lambda: mine.seen and real.seen)
        await scene.fake.message("last", guild=home)
        await scene.fake.message("last there", guild=other)
        await until(lambda: "last" in mine.seen and "last there" in real.seen)
        guilds = [[guild.name for guild in bot.guilds] for bot in (mine, real)]

    assert sent.body["content"] == "hello from home"
    assert {call.token for call in scene.fake.calls} == {scene.fake.token}
    assert mine.seen == ["hi", "last"]
    assert real.seen == ["hi there", "last there"]
    assert guilds == [["home"], ["other"]]


async def test_claims_that_move_take_the_guild_along(scene: Scene, reader: Gateway) -> None:
    """It becomes available to one bot as it does unavailable to the other; neither believes to have joined or left."""
    home, other = scene.fake.guild("home"), scene.fake.guild("other")
    box = await scene.sandbox(home)
    mine, real = Bot(), Bot()
    async with running(mine, scene.token(box)), running(real, scene.fake.token):
        await until(lambda: "ready" in mine.happened and "ready" in real.happened)
        await scene.link(box, other)
        await scene.fake.message("one", guild=other)
        await until(lambda: "one" in mine.seen)
        await until(lambda: "unavailable other" in real.happened)
        known = sorted(guild.name for guild in mine.guilds)
        unlink = scene.runtime.sandboxes.unlink
        await unlink(scene.team.principal, box.id, "discord.guild", other["id"])
        await scene.fake.message("two", guild=other)
        await until(lambda: "two" in real.seen)
        await until(lambda: "unavailable other" in mine.happened)

    assert known == ["home", "other"]
    assert (mine.seen, real.seen) == (["one"], ["two"])
    assert not any(each.startswith(("joined", "removed")) for each in mine.happened + real.happened)


async def test_a_slash_command_is_answered_in_time(scene: Scene, reader: Gateway) -> None:
    """Synced by the bot itself, asked at Discord, answered through the lock; the fake takes no answer after 3 s."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    bot = Bot()
    async with running(bot, scene.token(box)):
        await until(lambda: "ready" in bot.happened)
        await bot.tree.sync()
        asked = await scene.fake.interaction("ping", {"text": "x"}, guild=home)
        answer = await asked.answered()
        await until(lambda: asked.followups)

    assert answer["data"]["content"] == "pong x"
    assert [each["content"] for each in asked.followups] == ["more"]


async def test_a_copy_of_an_interaction_is_answered_by_production_alone(scene: Scene, reader: Gateway) -> None:
    """The sandbox's bot works on it and believes that it answered."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home, mode="mirror")
    mine, real = Bot(), Bot()
    done: list[str] = []

    @mine.tree.command(name="count", description="x")
    async def count(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("from the sandbox")
        sent = await interaction.followup.send("and more", wait=True)
        done.append(sent.content)

    async with running(mine, scene.token(box)), running(real, scene.fake.token):
        await until(lambda: "ready" in mine.happened and "ready" in real.happened)
        asked = await scene.fake.interaction("count", guild=home)
        await until(lambda: done)
        await scene.fake.message("hi", guild=home)
        await until(lambda: mine.seen and real.seen)

    assert done == ["and more"]
    assert asked.callback is None
    assert not asked.followups
    assert mine.seen == real.seen == ["hi"]


async def test_each_message_is_one_bots_while_claims_move_and_connections_break(scene: Scene, reader: Gateway) -> None:
    """Of production's or of the sandbox's, never of both or none; each bot sees a guild's in their order."""
    chance = random.Random(3)
    guilds = [scene.fake.guild(f"guild {number}") for number in range(3)]
    box = await scene.sandbox(guilds[0])
    mine, real = Bot(), Bot()
    linked = {guilds[0]["id"]}
    flips = 0

    async def remap() -> None:
        nonlocal flips
        while True:
            guild = chance.choice(guilds)
            if guild["id"] in linked:
                await scene.runtime.sandboxes.unlink(scene.team.principal, box.id, "discord.guild", guild["id"])
            else:
                await scene.link(box, guild)
            linked.symmetric_difference_update({guild["id"]})
            flips += 1
            await asyncio.sleep(0.05)

    written: dict[str, list[str]] = {guild["id"]: [] for guild in guilds}
    async with running(mine, scene.token(box)), running(real, scene.fake.token):
        await until(lambda: "ready" in mine.happened and "ready" in real.happened)
        remapping = asyncio.create_task(remap())
        for number in range(900):
            guild = chance.choice(guilds)
            written[guild["id"]].append(f"{guild['id']} {number}")
            await scene.fake.message(written[guild["id"]][-1], guild=guild)
            if number % 150 == 149:
                severed(scene)
            await asyncio.sleep(0.003)
        remapping.cancel()
        await asyncio.gather(remapping, return_exceptions=True)
        await until(lambda: len(mine.seen) + len(real.seen) >= 900, 60)
        await asyncio.sleep(0.5)
    found = {
        guild: [[text for text in bot.seen if text.startswith(guild)] for bot in (mine, real)] for guild in written
    }
    place = {text: number for texts in written.values() for number, text in enumerate(texts)}

    assert {guild: sorted(one + other, key=place.__getitem__) for guild, (one, other) in found.items()} == written
    assert all(texts == sorted(texts, key=place.__getitem__) for both in found.values() for texts in both)
    assert mine.seen
    assert real.seen
    assert flips > 5
    assert mine.happened.count("ready") == real.happened.count("ready") == 1
