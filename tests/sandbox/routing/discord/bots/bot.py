"""A bot as people write them with discord.py, run and cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from tests.sandbox.routing.discord.scene import Scene
from tests.testing_discord.bot import ping

import discord
from discord import app_commands
from valhalla.sandbox.routing.discord.bots.pace import Pace

QUICK = Pace(identify_every=0.0, looking=0.02, running=0.2)


class Bot(discord.AutoShardedClient):
    """A bot as people write them; nothing of it knows where it runs."""

    def __init__(self, **more: Any) -> None:
        super().__init__(intents=more.pop("intents", discord.Intents.all()), guild_ready_timeout=0.3, **more)
        self.seen: list[str] = []
        self.happened: list[str] = []
        self.tree = app_commands.CommandTree(self)
        self.tree.command(name="ping", description="answers")(ping)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Do not wait five seconds."""

    async def on_ready(self) -> None:
        self.happened.append("ready")

    async def on_resumed(self) -> None:
        self.happened.append("resumed")

    async def on_guild_unavailable(self, guild: discord.Guild) -> None:
        self.happened.append(f"unavailable {guild.name}")

    async def on_guild_join(self, guild: discord.Guild) -> None:
        self.happened.append(f"joined {guild.name}")

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        self.happened.append(f"removed {guild.name}")

    async def on_message(self, message: discord.Message) -> None:
        if message.author.bot:
            return
        assert message.guild is not None
        self.seen.append(message.content)
        if message.content.startswith("hi"):
            await message.channel.send(f"hello from {message.guild.name}")


@asynccontextmanager
async def running(bot: discord.Client, token: str) -> AsyncGenerator[asyncio.Task[None]]:
    task = asyncio.create_task(bot.start(token))
    try:
        yield task
    finally:
        await bot.close()
        await asyncio.gather(task, return_exceptions=True)


def severed(scene: Scene) -> int:
    """Break all connections of bots off, without a word."""
    found = [each for each in scene.bots._connections if each.session is not None]
    for each in found:
        assert each._transport is not None
        each._transport.abort()
    return len(found)
