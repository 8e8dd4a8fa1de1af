"""A bot as people write it, which knows nothing of where it runs; it prints what happens to it."""

from __future__ import annotations

import os

import discord


class Bot(discord.Client):
    async def on_ready(self) -> None:
        print("ready", flush=True)

    async def on_resumed(self) -> None:
        print("resumed", flush=True)

    async def on_message(self, message: discord.Message) -> None:
        if message.author.bot:
            return
        print(f"seen {message.content}", flush=True)
        if message.content == "hi":
            await message.channel.send(f"hello from {message.guild}")


if __name__ == "__main__":
    Bot(intents=discord.Intents.all()).run(os.environ["DISCORD_TOKEN"], log_handler=None)
