"""Under which key, in which lane and once: what the gateway client stores of events, over a real NATS."""

from __future__ import annotations

import json

import pytest
from tests.sandbox.routing.conftest import Bus
from tests.sandbox.routing.discord.gateway.reading import burst, reading, texts, until

from valhalla.kernel.ids import new_id
from valhalla.sandbox.routing.contracts import Received
from valhalla.sandbox.routing.discord.gateway.pace import Pace
from valhalla.testing.discord import FakeDiscord

pytestmark = pytest.mark.slow


async def test_events_of_a_guild_come_under_its_key_with_their_numbers_as_ids(bus: Bus, discord: FakeDiscord) -> None:
    """Guild's own events, its messages and its interactions have one key; private messages have the user's."""
    home = discord.guild("home")
    async with reading(bus, discord) as gateway:
        await discord.message("hi", guild=home)
        asked = await discord.interaction("ping", guild=home)
        private = await discord.direct("psst")
        await until(lambda: gateway.totals()["events"] >= 4)
        session = gateway.shards[0].session
    found: list[Received] = await bus.stored(f"ev.p.discord.{home['id']}.*")
    alone = await bus.stored(f"ev.p.discord.dm=2E{private['author']['id']}.*")

    assert [one.event.type for one in found] == ["GUILD_CREATE", "MESSAGE_CREATE", "INTERACTION_CREATE"]
    assert session is not None
    assert [one.event.id for one in found] == [f"{session.id}:{number}" for number in (2, 3, 4)]
    assert json.loads(found[2].event.data)["token"] == asked.token
    assert [json.loads(one.event.data)["content"] for one in alone] == ["psst"]


async def test_shards_share_the_guilds_and_identify_in_turn(bus: Bus, discord: FakeDiscord) -> None:
    """Each guild comes on its shard, once; no two shards of one bucket identify within the pause."""
    discord.gateway.shards, discord.gateway.max_concurrency, discord.gateway.identify_every = 4, 2, 0.2
    homes = [discord.guild(f"home {number}", shard=number) for number in range(4)]
    pace = Pace(base=0.05, identify_every=0.25)
    async with reading(bus, discord, shards=4, pace=pace) as gateway:
        for number, home in enumerate(homes):
            await discord.message(f"m{number}", guild=home)
        await until(lambda: gateway.totals()["events"] >= 8)
    times = {shard: at for at, shard in discord.gateway.identifies}

    assert [await texts(bus, home["id"]) for home in homes] == [["m0"], ["m1"], ["m2"], ["m3"]]
    assert len(discord.gateway.identifies) == 4
    assert abs(times[0] - times[2]) >= 0.2
    assert abs(times[1] - times[3]) >= 0.2


async def test_a_claim_in_the_middle_of_a_resume_neither_loses_nor_doubles(bus: Bus, discord: FakeDiscord) -> None:
    """What is sent again after its guild was claimed is still stored once, in the lane where it was."""
    home, box, claims = discord.guild("home"), new_id(), bus.claims()
    guild = home["id"]
    async with reading(bus, discord) as gateway:
        first = await burst(discord, home, 100, lambda number: None)
        await until(lambda: gateway.totals()["events"] >= 101)
        await bus.claim(claims, guild, box, kind="discord.guild")
        # as after a crash: the client asks for what it has already handed over
        session = gateway.shards[0].session
        assert session is not None
        session.sequence -= 50
        discord.cut()
        second = await burst(discord, home, 100, lambda number: None)
        await until(lambda: gateway.totals()["events"] >= 251)
    await claims.close()

    assert await texts(bus, guild) == first
    assert await texts(bus, guild, lane=f"ev.s.{box}") == second
