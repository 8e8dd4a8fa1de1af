"""A gateway client that reads a Discord, and what is stored of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr
from tests.sandbox.routing.conftest import Bus

from valhalla.sandbox.routing.contracts import STREAM
from valhalla.sandbox.routing.discord.gateway import Gateway, Options
from valhalla.sandbox.routing.discord.gateway.intents import parse
from valhalla.sandbox.routing.discord.gateway.pace import Pace
from valhalla.testing.discord import FakeDiscord

QUICK = Pace(base=0.05, again=0.2, anew=0.2, good=0.5, silence=5, room=5, keeping=0.05, identify_every=0.05)


@asynccontextmanager
async def reading(bus: Bus, discord: FakeDiscord, *, shards: int = 1, **more: Any) -> AsyncGenerator[Gateway]:
    """Run a gateway client of this Discord until the block ends."""
    pace = more.pop("pace", QUICK)
    options = Options(SecretStr(discord.token), api=discord.api_url, intents=parse("all"), **more)
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


async def count(bus: Bus, guild: str) -> int:
    """Return how many messages of a guild production's lane has."""
    subject = f"ev.p.discord.{guild}.MESSAGE_CREATE"
    answer = await bus.link.api(f"STREAM.INFO.{STREAM}", {"subjects_filter": subject})
    return (answer["state"].get("subjects") or {}).get(subject, 0)


async def burst(discord: FakeDiscord, guild: dict[str, Any], count: int, trouble: Callable[[int], None]) -> list[str]:
    """Let somebody write a lot, with trouble in between; returns what was written."""
    written: list[str] = []
    for number in range(count):
        await discord.message(f"m{number}", guild=guild)
        written.append(f"m{number}")
        trouble(number)
        if number % 50 == 0:
            await asyncio.sleep(0.01)
    return written
