"""Discord's gateway client: what an event costs it, with and without an ingress behind, and discord.py beside it."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from pydantic import SecretStr

from bench.report import figure, publish
from bench.servers import nats_alone
from valhalla.kit import natsauth
from valhalla.sandbox.routing import streams
from valhalla.sandbox.routing.contracts import STREAM, Event, Sizes
from valhalla.sandbox.routing.discord.gateway import Gateway, Options
from valhalla.sandbox.routing.discord.gateway.intents import parse
from valhalla.sandbox.routing.following import Following
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.sandbox.routing.items import Stored
from valhalla.sandbox.routing.link import Link
from valhalla.testing.discord import FakeDiscord

TURNS = 3
EVENTS = 20_000
PACED = 3_000
RATE = 500
# microseconds: 30,000 events a second on one core; milliseconds from the frame to the handler
GOALS = {"read": 33.3, "frame": 0.5, "frame 99": 1.5}


def run() -> None:
    """Start a throw-away NATS and a Discord, measure in turns and publish."""
    with nats_alone() as lent:
        found = uvloop.run(_measure(lent.url, natsauth.control_creds(lent.cell)))
    publish(
        "Discord: the gateway client, one shard (Discord, NATS and handler on the same cores)",
        [
            figure("reader with keys, CPU", "us/event", found["read"], GOALS["read"]),
            figure("reader publishing to the ingress, CPU", "us/event", found["publish"], GOALS["read"]),
            figure("discord.py: on_message, CPU", "us/event", found["discord.py"], None),
            figure(f"frame sent to handler at {RATE}/s, median", "ms", found["frame"], GOALS["frame"]),
            figure(f"frame sent to handler at {RATE}/s, 99 %", "ms", found["frame 99"], GOALS["frame 99"]),
            figure(f"ingress to handler at {RATE}/s, median", "ms", found["alone"], None),
            figure(f"ingress to handler at {RATE}/s, 99 %", "ms", found["alone 99"], None),
        ],
    )


async def _measure(url: str, creds: str) -> dict[str, list[float]]:
    link = await Link.open(url, creds, name="bench")
    await streams.ensure(link, Sizes(max_bytes=2**30))
    await link.close()
    names = ("read", "publish", "discord.py", "frame", "frame 99", "alone", "alone 99")
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(TURNS):
        found["read"].append(await _read(_Nowhere()))
        ingress = Ingress(url, creds, name="discord")
        await ingress.start()
        found["publish"].append(await _read(ingress))
        await ingress.stop()
        found["discord.py"].append(await _peer())
        median, tail = await _paced(url, creds)
        found["frame"].append(median)
        found["frame 99"].append(tail)
        median, tail = await _alone(url, creds)
        found["alone"].append(median)
        found["alone 99"].append(tail)
    return found


class _Nowhere:
    """An ingress that stores at once: what is left is the reader."""

    is_live = True

    def __init__(self) -> None:
        self.outgoing = self

    def post(self, event: Event, answer: Any) -> None:
        answer.set_result(Stored(1, False, None))

    async def room(self) -> None:
        pass

    async def flush(self, *, within: float) -> None:
        pass


@asynccontextmanager
async def _discord() -> AsyncGenerator[tuple[dict[str, Any], Callable[[str], None]]]:
    """Lend a Discord in a process of its own, and what tells it what to send."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.discord", "discord"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    told = process.stdin

    def tell(line: str) -> None:
        told.write(line + "\n")
        told.flush()

    try:
        # an ingress beats meanwhile
        yield json.loads(await asyncio.to_thread(process.stdout.readline)), tell
    finally:
        process.kill()
        process.wait()


async def _read(ingress: Any) -> float:
    async with _discord() as (info, tell):
        options = Options(SecretStr(info["token"]), parse("all"), api=info["api"])
        gateway, stop = Gateway(options, ingress), asyncio.Event()
        running = asyncio.create_task(gateway.run(stop))
        while not gateway.shards or gateway.shards[0].state != "live":
            await asyncio.sleep(0.01)
        spent = await _burst(tell, lambda: gateway.totals()["events"])
        await ingress.flush(within=30)
        stop.set()
        await running
    return spent


async def _burst(tell: Callable[[str], None], count: Callable[[], int]) -> float:
    await asyncio.sleep(0.2)
    began, cpu = count(), time.process_time()
    tell(f"burst {EVENTS}")
    while count() - began < EVENTS:
        await asyncio.sleep(0.05)
    return (time.process_time() - cpu) / EVENTS * 1e6


async def _peer() -> float:
    import yarl

    import discord

    async with _discord() as (info, tell):
        # its own names for where Discord is: good enough to measure with
        discord.http.Route.BASE = info["api"]
        discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(info["gateway"])
        seen = 0

        class Bot(discord.Client):
            async def on_message(self, message: discord.Message) -> None:
                nonlocal seen
                seen += 1

        bot = Bot(intents=discord.Intents.all(), guild_ready_timeout=0.2)
        running = asyncio.create_task(bot.start(info["token"]))
        while not bot.is_ready():
            await asyncio.sleep(0.01)
        spent = await _burst(tell, lambda: seen)
        await bot.close()
        await asyncio.gather(running, return_exceptions=True)
    return spent


async def _paced(url: str, creds: str) -> tuple[float, float]:
    ingress = Ingress(url, creds, name="discord")
    await ingress.start()
    try:
        async with _handler(url, creds) as heard, _discord() as (info, tell):
            options = Options(SecretStr(info["token"]), parse("all"), api=info["api"])
            gateway, stop = Gateway(options, ingress), asyncio.Event()
            running = asyncio.create_task(gateway.run(stop))
            while not gateway.shards or gateway.shards[0].state != "live":
                await asyncio.sleep(0.01)
            tell(f"paced {PACED}")
            found = await heard()
            stop.set()
            await running
    finally:
        await ingress.stop()
    return found


async def _alone(url: str, creds: str) -> tuple[float, float]:
    """The same from the ingress on: what is left of a gateway's time is the gateway's."""
    ingress = Ingress(url, creds, name="discord")
    await ingress.start()
    try:
        async with _handler(url, creds) as heard:
            began, session = time.monotonic(), secrets.token_hex(8)
            for number in range(PACED):
                await asyncio.sleep(max(began + number / RATE - time.monotonic(), 0))
                body = json.dumps({"content": "x" * 600, "nonce": str(time.monotonic_ns())}).encode()
                await ingress.post(Event("discord", "1", "MESSAGE_CREATE", body, f"{session}:{number}"))
            return await heard()
    finally:
        await ingress.stop()


@asynccontextmanager
async def _handler(url: str, creds: str) -> AsyncGenerator[Callable[[], Awaitable[tuple[float, float]]]]:
    """Lend a handler in a process of its own, and what waits until it has heard everything."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.discord", "handle", url, creds], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = process.stdout

    async def heard() -> tuple[float, float]:
        median, tail = json.loads(await asyncio.to_thread(said.readline))
        return median, tail

    try:
        await asyncio.to_thread(said.readline)
        yield heard
    finally:
        process.kill()
        process.wait()


# --- the other processes


async def _serve() -> None:
    async with FakeDiscord() as discord:
        home = discord.guild("home")
        print(json.dumps({"api": discord.api_url, "gateway": discord.gateway_url, "token": discord.token}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            what, count = line.split()
            (session,) = discord.gateway.sessions
            example = discord.world.event_of(
                discord.world.message(home["channels"][0]["id"], discord.world.person(), {"content": "x" * 80})
            )
            began = time.monotonic()
            for number in range(int(count)):
                if what == "paced":
                    await asyncio.sleep(max(began + number / RATE - time.monotonic(), 0))
                elif number % 100 == 0:
                    await asyncio.sleep(0)
                session.dispatch("MESSAGE_CREATE", example | {"nonce": str(time.monotonic_ns())})


async def _handle(url: str, creds: str) -> None:
    link, late = await Link.open(url, creds, name="handler"), list[float]()

    def heard(subject: str, block: bytes | None, body: bytes, sequence: int) -> None:
        now = time.monotonic_ns()
        if (sent := json.loads(body).get("nonce")) is not None:
            late.append((now - int(sent)) / 1e6)

    following = Following(link, STREAM, "ev.p.discord.*.MESSAGE_CREATE", heard)
    await following.start()
    # what earlier turns left is none of ours
    await following.complete.wait()
    late.clear()
    print("ready", flush=True)
    while len(late) < PACED:
        await asyncio.sleep(0.2)
    late.sort()
    print(json.dumps([late[len(late) // 2], late[len(late) * 99 // 100]]), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["discord"]:
        uvloop.run(_serve())
    elif sys.argv[1:2] == ["handle"]:
        uvloop.run(_handle(*sys.argv[2:]))
    else:
        run()
