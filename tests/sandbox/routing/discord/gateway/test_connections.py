"""However a connection to the fake Discord ends, nothing is lost and nothing doubled."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.sandbox.routing.conftest import Bus
from tests.sandbox.routing.discord.gateway.reading import burst, reading, texts, until

from valhalla.sandbox.routing.discord.gateway.pace import Pace
from valhalla.testing.discord import FakeDiscord

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("trouble", ["cut", "reconnect", "close", "resumable"])
async def test_a_resumed_session_loses_and_doubles_nothing(bus: Bus, discord: FakeDiscord, trouble: str) -> None:
    """However a connection ends in the middle of a burst, what was missed comes once, in order."""
    home = discord.guild("home")
    ways: dict[str, Callable[[], object]] = {
        "cut": discord.cut,
        "reconnect": discord.reconnect,
        "close": lambda: discord.close(4000),
        "resumable": lambda: discord.invalidate(resumable=True),
    }

    def make(number: int) -> None:
        if number % 400 == 200:
            ways[trouble]()

    count = 600 if trouble == "resumable" else 2000
    async with reading(bus, discord) as gateway:
        written = await burst(discord, home, count, make)
        await until(lambda: gateway.totals()["events"] >= count + 1)
    totals = gateway.totals()

    assert await texts(bus, home["id"]) == written
    assert (totals["identifies"], totals["gaps"]) == (1, 0)
    assert totals["resumes"] >= 1
    assert len(discord.gateway.sessions) == 0


async def test_an_invalid_session_is_followed_by_a_new_one(bus: Bus, discord: FakeDiscord) -> None:
    """What comes after READY of the new session is stored under the new session's numbers."""
    home = discord.guild("home")
    async with reading(bus, discord) as gateway:
        first = gateway.shards[0].session
        await discord.message("before", guild=home)
        await until(lambda: gateway.totals()["events"] >= 2)
        discord.invalidate()
        await until(lambda: gateway.totals()["identifies"] == 2 and gateway.shards[0].state == "live")
        await discord.message("after", guild=home)
        await until(lambda: gateway.totals()["events"] >= 4)
        second = gateway.shards[0].session

    assert first is not None
    assert second is not None
    assert first.id != second.id
    assert await texts(bus, home["id"]) == ["before", "after"]


async def test_a_resume_that_is_refused_begins_a_new_session(bus: Bus, discord: FakeDiscord) -> None:
    """A gateway that has forgotten the session, or keeps too little of it, is identified to anew."""
    home = discord.guild("home")
    async with reading(bus, discord) as gateway:
        for session in discord.gateway.sessions:
            discord.gateway.sessions.end(session)
        discord.cut()
        await until(lambda: gateway.totals()["identifies"] == 2 and gateway.shards[0].state == "live")
        await discord.message("after", guild=home)
        await until(lambda: gateway.totals()["events"] >= 3)

    assert await texts(bus, home["id"]) == ["after"]


async def test_a_connection_without_acknowledgements_is_given_up(bus: Bus, discord: FakeDiscord) -> None:
    """Heartbeats that nobody acknowledges mean that nothing comes any more, though the connection is open."""
    home = discord.guild("home")
    discord.gateway.heartbeat_interval = 0.2
    async with reading(bus, discord) as gateway:
        discord.gateway.acknowledges = False
        await until(lambda: gateway.totals()["zombies"] >= 1)
        discord.gateway.acknowledges = True
        await until(lambda: gateway.totals()["resumes"] >= 1 and gateway.shards[0].state == "live")
        await discord.message("after", guild=home)
        await until(lambda: gateway.totals()["events"] >= 2)

    assert await texts(bus, home["id"]) == ["after"]


async def test_an_ingress_that_cannot_publish_closes_so_that_nothing_is_lost(bus: Bus, discord: FakeDiscord) -> None:
    """More than the ingress may keep waits at Discord, and comes when it publishes again."""
    home = discord.guild("home")
    async with reading(bus, discord, pace=Pace(base=0.05, again=0.2, room=0.2, keeping=0.05)) as gateway:
        ingress = gateway._ingress
        there, ingress._url = ingress._url, "nats://127.0.0.1:1"
        assert ingress._link is not None
        ingress._link.abort()
        await until(lambda: not ingress.is_live)
        written = await burst(discord, home, 4000, lambda number: None)
        await until(lambda: gateway.shards[0].state == "held")
        taken = gateway.totals()["events"]
        ingress._url = there
        await until(lambda: gateway.totals()["events"] >= len(written) + 1, 40)

    assert taken < 3000
    assert gateway.totals()["held"] >= 1
    assert await texts(bus, home["id"]) == written
