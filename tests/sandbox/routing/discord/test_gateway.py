"""The gateway client against the fake Discord and a real NATS: nothing lost, nothing doubled, whatever happens between."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tests.sandbox.routing.conftest import Bus

from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Problem
from valhalla.sandbox.routing.contracts import Received
from valhalla.sandbox.routing.discord.gateway import Gateway, Options
from valhalla.sandbox.routing.discord.gateway.errors import GatewayRefused, ShardTaken, TokenRefused
from valhalla.sandbox.routing.discord.gateway.pace import Pace
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.testing.discord import FakeDiscord

pytestmark = pytest.mark.slow

QUICK = Pace(base=0.05, again=0.2, anew=0.2, good=0.5, silence=5, room=5, keeping=0.05, identify_every=0.05)


@pytest.fixture
async def discord() -> AsyncGenerator[FakeDiscord]:
    async with FakeDiscord() as made:
        yield made


@asynccontextmanager
async def reading(bus: Bus, discord: FakeDiscord, *, shards: int = 1, **more: Any) -> AsyncGenerator[Gateway]:
    """Run a gateway client of this Discord until the block ends."""
    pace = more.pop("pace", QUICK)
    options = Options(SecretStr(discord.token), api=discord.api_url, **more)
    async with bus.ingress(name="discord") as ingress:
        gateway, stop = Gateway(options, ingress, pace=pace), asyncio.Event()
        running = asyncio.create_task(gateway.run(stop))
        live = asyncio.create_task(until(lambda: sum(s.state == "live" for s in gateway.shards) >= shards))
        done, _ = await asyncio.wait({running, live}, return_when=asyncio.FIRST_COMPLETED)
        live.cancel()
        if running in done:
            running.result()
        yield gateway
        stop.set()
        await running


async def until(holds: Callable[[], bool], within: float = 20.0) -> None:
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.005)


async def texts(bus: Bus, guild: str, *, lane: str = "ev.p") -> list[str]:
    """Return the messages of a guild in one lane, in order."""
    found = await bus.stored(f"{lane}.discord.{guild}.MESSAGE_CREATE")
    return [json.loads(one.event.data)["content"] for one in found]


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
