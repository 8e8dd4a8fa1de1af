"""Real discord.py at the gateway of sandboxes' bots, and production's at the fake Discord, over a real NATS."""

from __future__ import annotations

import asyncio
import random
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
from tests.sandbox.routing.discord.scene import Scene, first, locked
from tests.testing_discord.bot import ping

import discord
from discord import app_commands
from valhalla.kit import natsauth
from valhalla.runtime import Runtime
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
    async with locked(runtime, team, fake, pace=QUICK, production=True) as made:
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


def severed(scene: Scene) -> int:
    """Break all connections of bots off, without a word."""
    found = [each for each in scene.bots._connections if each.session is not None]
    for each in found:
        assert each._transport is not None
        each._transport.abort()
    return len(found)


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
