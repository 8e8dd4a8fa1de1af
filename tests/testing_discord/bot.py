"""A bot as people write them, with the real discord.py."""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands
from valhalla.testing.discord import FakeDiscord


class Bot(discord.AutoShardedClient):
    """Says hello, knows one slash command, and remembers what it saw."""

    def __init__(self, fake: FakeDiscord, **more: Any) -> None:
        super().__init__(
            intents=discord.Intents.all(), connector=fake.connector(), guild_ready_timeout=0.2, **more
        )  # fmt: skip
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

    async def on_message(self, message: discord.Message) -> None:
        if message.author.bot:
            return
        self.seen.append(message.content)
        if message.content == "hi":
            await message.channel.send("hello", file=discord.File(__file__, "me.py"))
            await message.add_reaction("👍")


async def ping(interaction: discord.Interaction, text: str) -> None:
    """Answer, and say more."""
    await interaction.response.send_message(f"pong {text}")
    await interaction.followup.send("more")
    await interaction.edit_original_response(content="changed")
