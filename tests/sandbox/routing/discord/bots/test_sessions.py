"""Connections that break, bots that stop and start, shards: real discord.py misses and doubles nothing."""

from __future__ import annotations

import asyncio

import pytest
from tests.sandbox.routing.discord.bots.bot import Bot, running, severed
from tests.sandbox.routing.discord.scene import Scene, until

import discord
from valhalla.sandbox.routing.discord.gateway import Gateway

pytestmark = pytest.mark.slow


async def test_a_bot_that_lost_its_connection_resumes(scene: Scene, reader: Gateway) -> None:
    """Again and again, while messages come: none is missed, doubled, or out of order."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    bot, written = Bot(), [f"m{number}" for number in range(300)]
    async with running(bot, scene.token(box)):
        await until(lambda: "ready" in bot.happened)
        for number, text in enumerate(written):
            await scene.fake.message(text, guild=home)
            if number % 60 == 59:
                await until(lambda: severed(scene))
            await asyncio.sleep(0.002)
        await until(lambda: len(bot.seen) >= len(written), 60)

    assert bot.seen == written
    assert "resumed" in bot.happened
    assert bot.happened.count("ready") == 1
    assert scene.bots.shared.counts["identifies"] == 1


async def test_what_came_while_no_bot_ran_is_waiting(scene: Scene, reader: Gateway) -> None:
    """And what one was sent is not sent to the next; another number of shards is no other lane."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    seen: list[list[str]] = []
    for number, shards in enumerate((1, 1, 2)):
        for text in ("a", "b"):
            await scene.fake.message(f"{text}{number}", guild=home)
        bot = Bot(shard_count=shards)
        async with running(bot, scene.token(box)):
            await until(lambda bot=bot, number=number: f"b{number}" in bot.seen, 20)
        seen.append(bot.seen)

    assert seen == [["a0", "b0"], ["a1", "b1"], ["a2", "b2"]]


async def test_shards_share_the_guilds_as_discord_says(scene: Scene, reader: Gateway) -> None:
    """Each by (guild >> 22) % n; a bot with fewer intents is told less."""
    scene.fake.gateway.shards = 2
    guilds = [scene.fake.guild(f"guild {number}", shard=number % 2) for number in range(4)]
    scene.fake.gateway.shards = 1
    box = await scene.sandbox(*guilds)
    intents = discord.Intents.default()
    bot, quiet = Bot(shard_count=2), Bot(intents=intents)
    async with running(bot, scene.token(box)), running(quiet, scene.token(box)):
        await until(lambda: "ready" in bot.happened and "ready" in quiet.happened)
        for guild in guilds:
            await scene.fake.message(f"in {guild['name']}", guild=guild)
        await until(lambda: len(bot.seen) == len(quiet.seen) == 4)
        found = {guild.name: guild.shard_id for guild in bot.guilds}

    assert found == {f"guild {number}": number % 2 for number in range(4)}
    assert sorted(bot.seen) == [f"in guild {number}" for number in range(4)]
    assert quiet.seen == [""] * 4


async def test_the_end_of_the_sandbox_is_the_end_of_its_bot(scene: Scene) -> None:
    """With 4004, from which discord.py does not come back; a token that is nobody's gets the same."""
    box = await scene.sandbox(scene.fake.guild("home"))
    bot = Bot()
    async with running(bot, scene.token(box)) as task:
        await until(lambda: "ready" in bot.happened)
        await scene.team.destroy(box.id)
        with pytest.raises(discord.ConnectionClosed) as caught:
            await asyncio.wait_for(asyncio.shield(task), 20)

    assert caught.value.code == 4004
