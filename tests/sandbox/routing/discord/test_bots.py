"""Real discord.py at the gateway of sandboxes' bots, and production's at the fake Discord, over a real NATS."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route
from pydantic import SecretStr
from tests.sandbox.plane import Team
from tests.sandbox.routing.discord.test_lock import Scene, first, locked
from tests.testing_discord.bot import ping

import discord
from discord import app_commands
from valhalla.kit import natsauth
from valhalla.runtime import Runtime
from valhalla.sandbox.contracts import Sandbox
from valhalla.sandbox.routing.discord.bots.pace import Pace
from valhalla.sandbox.routing.discord.gateway import Gateway, Options
from valhalla.sandbox.routing.discord.gateway.intents import parse
from valhalla.sandbox.routing.discord.gateway.pace import Pace as ReadingPace
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.testing.discord import FakeDiscord

pytestmark = pytest.mark.slow

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


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(bot: discord.Client, token: str) -> AsyncGenerator[asyncio.Task[None]]:
    task = asyncio.create_task(bot.start(token))
    try:
        yield task
    finally:
        await bot.close()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def fake() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord(token=f"real-{secrets.token_hex(8)}") as made:
        yield made


@pytest.fixture
async def scene(
    runtime: Runtime, team: Team, fake: FakeDiscord, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    """What a bot is told of us are these two addresses; production's bot is led to the fake by its connector."""
    async with locked(runtime, team, fake, pace=QUICK) as made:
        monkeypatch.setattr(Route, "BASE", f"http://127.0.0.1:{made.port}/api/v10")
        monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(f"ws://127.0.0.1:{made.port}"))
        yield made


@pytest.fixture
async def reader(scene: Scene) -> AsyncIterator[Gateway]:
    """``valhalla ingress discord``, reading the fake for all."""
    url = scene.runtime.settings.nats_url
    assert url is not None
    ingress = Ingress(url, natsauth.control_creds(scene.runtime.cell), name="discord")
    await ingress.start()
    options = Options(SecretStr(scene.fake.token), parse("all"), api=scene.fake.api_url)
    gateway, stop = Gateway(options, ingress, pace=ReadingPace(base=0.05, identify_every=0.05)), asyncio.Event()
    task = asyncio.create_task(gateway.run(stop))
    await scene.fake.connected()
    yield gateway
    stop.set()
    await task
    await ingress.stop()


async def ready(scene: Scene, sandbox: Sandbox, bot: Bot) -> None:
    await until(lambda: "ready" in bot.happened)


async def test_a_message_of_a_claimed_guild_is_the_sandbox_bots_alone(scene: Scene, reader: Gateway) -> None:
    """Its answer goes through the lock; what nobody has claimed stays on production's lane."""
    home, other = scene.fake.guild("home"), scene.fake.guild("other")
    box = await scene.sandbox(home)
    bot = Bot()
    async with running(bot, scene.token(box)):
        await until(lambda: "ready" in bot.happened)
        await scene.fake.message("hi", guild=home)
        await scene.fake.message("for production", guild=other)
        sent = await scene.fake.called("POST", f"/channels/{first(home)}/messages")
        await scene.fake.message("last", guild=home)
        await until(lambda: "last" in bot.seen)
        guilds = [guild.name for guild in bot.guilds]

    assert sent.body["content"] == "hello from home"
    assert sent.token == scene.fake.token
    assert bot.seen == ["hi", "last"]
    assert guilds == ["home"]
