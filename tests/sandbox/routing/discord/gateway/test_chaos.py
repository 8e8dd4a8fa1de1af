"""Shards, broken connections, a lost NATS and changing claims at once: every event is stored once and in order."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable

import pytest
from pydantic import SecretStr
from tests.sandbox.routing.conftest import Bus
from tests.sandbox.routing.discord.gateway.reading import QUICK, until

from valhalla.kernel.ids import new_id
from valhalla.sandbox.routing.claims import Claims
from valhalla.sandbox.routing.discord.gateway import Gateway, Options
from valhalla.sandbox.routing.discord.gateway.intents import parse
from valhalla.testing.discord import FakeDiscord

pytestmark = pytest.mark.slow

SHARDS = 4
GUILDS = 8
MESSAGES = 6000


async def test_nothing_is_lost_doubled_or_disordered_whatever_happens_at_once(bus: Bus) -> None:
    """Order per guild holds over both lanes, by the numbers that the stream gave."""
    chance = random.Random(8)
    boxes, claims = [new_id(), new_id()], bus.claims()
    async with FakeDiscord() as discord, bus.ingress(name="discord") as ingress:
        discord.gateway.shards = SHARDS
        guilds = [discord.guild(f"guild {number}", shard=number % SHARDS) for number in range(GUILDS)]
        options = Options(SecretStr(discord.token), parse("all"), api=discord.api_url)
        gateway, stop = Gateway(options, ingress, pace=QUICK), asyncio.Event()
        running = asyncio.create_task(gateway.run(stop))
        await discord.connected(SHARDS)
        remapping = asyncio.create_task(_remap(bus, claims, [each["id"] for each in guilds], boxes))

        def lose_nats() -> None:
            if ingress._link is not None:
                ingress._link.abort()

        troubles: list[Callable[[], object]] = [
            lambda: discord.cut(chance.randrange(SHARDS)),
            lambda: discord.reconnect(chance.randrange(SHARDS)),
            lambda: discord.close(4000, chance.randrange(SHARDS)),
            lambda: discord.close(4008, chance.randrange(SHARDS)),
            discord.cut,
            lose_nats,
        ]
        written: dict[str, list[str]] = {each["id"]: [] for each in guilds}
        for number in range(MESSAGES):
            guild = chance.choice(guilds)
            await discord.message(f"m{number}", guild=guild)
            written[guild["id"]].append(f"m{number}")
            if number % 150 == 149:
                chance.choice(troubles)()
            if number % 20 == 0:
                await asyncio.sleep(0.01)
        await until(lambda: gateway.totals()["events"] >= MESSAGES + GUILDS, 60)
        flips = await _ended(remapping)
        stop.set()
        await running
    await claims.close()
    found = {guild: await _everywhere(bus, guild) for guild in written}
    claimed = sum(sandbox is not None for lanes in found.values() for sandbox, _ in lanes)

    assert {guild: [text for _, text in lanes] for guild, lanes in found.items()} == written
    assert gateway.totals()["gaps"] == 0
    assert gateway.totals()["resumes"] > 10
    assert flips > 10
    assert 0 < claimed < MESSAGES


async def _remap(bus: Bus, claims: Claims, guilds: list[str], boxes: list[str]) -> int:
    chance, flips, owners = random.Random(9), 0, dict[str, str]()
    try:
        while True:
            guild = chance.choice(guilds)
            if guild in owners:
                owner = owners.pop(guild)
                bus.owners.pop(("discord.guild", guild), None)
                owns = bus.owned("discord.guild", guild, owner)
                await claims.release("discord.guild", guild, owner, unread="drain", owns=owns)
            else:
                owners[guild] = chance.choice(boxes)
                await bus.claim(claims, guild, owners[guild], kind="discord.guild")
            flips += 1
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        return flips


async def _ended(task: asyncio.Task[int]) -> int:
    task.cancel()
    return await task


async def _everywhere(bus: Bus, guild: str) -> list[tuple[str | None, str]]:
    found = await bus.stored(f"ev.p.discord.{guild}.MESSAGE_CREATE")
    found += await bus.stored(f"ev.s.*.discord.{guild}.MESSAGE_CREATE")
    found.sort(key=lambda one: one.sequence)
    return [(one.sandbox, json.loads(one.event.data)["content"]) for one in found]
