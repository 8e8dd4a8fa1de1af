"""The real discord.py, unmodified and by documented parameters, through everything that a gateway does to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import pytest

from valhalla.testing.discord import FakeDiscord

if TYPE_CHECKING:
    from tests.testing_discord.bot import Bot

pytestmark = pytest.mark.slow


@pytest.fixture
async def fake() -> AsyncGenerator[FakeDiscord]:
    async with FakeDiscord() as made:
        yield made


@pytest.fixture
async def bot(fake: FakeDiscord) -> AsyncGenerator[Bot]:
    """A bot of two shards, each with a guild."""
    # a second of imports, which only those who run these tests are to pay
    from tests.testing_discord.bot import Bot

    fake.gateway.shards = 2
    fake.guild("home", shard=0)
    fake.guild("away", shard=1)
    made = Bot(fake)
    running = asyncio.create_task(made.start(fake.token))
    async with asyncio.timeout(20):
        await until(made.is_ready)
    yield made
    await made.close()
    await asyncio.gather(running, return_exceptions=True)


async def until(holds: Any, within: float = 20.0) -> None:
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.01)


async def test_it_logs_in_identifies_its_shards_and_sees_their_guilds(fake: FakeDiscord, bot: Bot) -> None:
    """HELLO, IDENTIFY, READY and GUILD_CREATE of both shards; messages come from both."""
    home, away = fake.world.guilds.values()
    await fake.message("one", guild=home)
    await fake.message("two", guild=away)
    await fake.direct("three")
    await until(lambda: len(bot.seen) == 3)

    assert {guild.name: guild.shard_id for guild in bot.guilds} == {"home": 0, "away": 1}
    assert sorted(shard for _, shard in fake.gateway.identifies) == [0, 1]
    assert sorted(bot.seen) == ["one", "three", "two"]
    assert {call.token for call in fake.calls} == {fake.token}


async def test_it_answers_by_rest(fake: FakeDiscord, bot: Bot) -> None:
    """A message with a file, and a reaction; what it wrote comes back to it by the gateway."""
    await fake.message("hi")
    sent = await fake.called("POST", "/channels/*/messages")
    await fake.called("PUT", "/channels/*/reactions/*/@me")

    assert (sent.body["content"], sent.files) == ("hello", ("me.py",))


async def test_it_syncs_commands_and_answers_interactions(fake: FakeDiscord, bot: Bot) -> None:
    """The command is registered, used, answered, followed up and changed."""
    await bot.tree.sync()
    asked = await fake.interaction("ping", {"text": "x"})
    answer = await asked.answered()
    await fake.called("PATCH", "/webhooks/*/messages/@original")

    assert [each["name"] for each in fake.world.commands[None].values()] == ["ping"]
    assert answer["data"]["content"] == "pong x"
    assert [each["content"] for each in asked.followups] == ["more"]
    assert fake.world.messages[asked.document["channel_id"]][str(asked.original)]["content"] == "changed"


@pytest.mark.parametrize("trouble", ["cut", "reconnect"])
async def test_it_resumes_and_gets_what_it_missed(fake: FakeDiscord, bot: Bot, trouble: str) -> None:
    """A broken connection, and op 7; each message is seen once, in order."""
    home = next(iter(fake.world.guilds.values()))
    fake.cut(0) if trouble == "cut" else fake.reconnect(0)
    for number in range(8):
        await fake.message(f"m{number}", guild=home)
    await until(lambda: "resumed" in bot.happened and len(bot.seen) == 8)

    assert bot.seen == [f"m{number}" for number in range(8)]
    assert fake.gateway.resumes == 1
    assert len(fake.gateway.identifies) == 2


async def test_it_identifies_anew_after_an_invalid_session(fake: FakeDiscord, bot: Bot) -> None:
    """Op 9 without a session that remains."""
    home = next(iter(fake.world.guilds.values()))
    fake.invalidate(0)
    await until(lambda: len(fake.gateway.identifies) == 3 and len(fake.gateway.of_shard(0)) == 1)
    await fake.message("after", guild=home)
    await until(lambda: bot.seen == ["after"])


async def test_it_waits_where_it_is_limited(fake: FakeDiscord, bot: Bot) -> None:
    """It believes the fake's 429 as it would Discord's, and tries again."""
    fake.throttle(0.1, path="/messages")
    await fake.message("hi")
    second = await fake.called("POST", "/channels/*/messages", count=2)

    assert [call.status for call in fake.calls if call.is_of("POST", "/channels/*/messages")] == [429, 200]
    assert second.body["content"] == "hello"


async def test_nothing_else_can_be_reached(fake: FakeDiscord, bot: Bot) -> None:
    """The connector knows Discord's names and no other."""
    import discord

    with pytest.raises(discord.NotFound):
        await bot.http.get_from_cdn("https://cdn.discordapp.com/x")
    with pytest.raises(OSError, match="Cannot connect") as raised:
        await bot.http.get_from_cdn("https://example.com/x")

    assert "leads nowhere else" in str(raised.value.__cause__)
