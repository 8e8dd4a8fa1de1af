"""The gateway client against the fake Discord and a real NATS: nothing lost, nothing doubled, whatever happens."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tests.sandbox.routing.conftest import Bus

from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Problem
from valhalla.sandbox.routing.contracts import STREAM, Received
from valhalla.sandbox.routing.discord.gateway import Gateway, Options
from valhalla.sandbox.routing.discord.gateway.errors import GatewayRefused, ShardTaken, TokenRefused
from valhalla.sandbox.routing.discord.gateway.intents import parse
from valhalla.sandbox.routing.discord.gateway.pace import Pace
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


@pytest.mark.parametrize(
    ("code", "problem"), [(4004, TokenRefused), (4010, GatewayRefused), (4013, GatewayRefused), (4014, GatewayRefused)]
)
async def test_what_stays_refused_ends_loudly(
    bus: Bus, discord: FakeDiscord, code: int, problem: type[Problem]
) -> None:
    """Nobody is served by a client that tries for ever; the problem says what to do."""
    async with bus.ingress(name="discord") as ingress:
        gateway = Gateway(Options(SecretStr(discord.token), api=discord.api_url), ingress, pace=QUICK)
        running = asyncio.create_task(gateway.run(asyncio.Event()))
        await discord.connected()
        discord.close(code)
        with pytest.raises(problem) as raised:
            await running

    assert str(code) in raised.value.detail
    assert raised.value.advice
    assert discord.token not in str(raised.value.document())


async def test_a_wrong_token_is_told_before_anything_is_connected(bus: Bus, discord: FakeDiscord) -> None:
    """The REST interface is asked first."""
    async with bus.ingress(name="discord") as ingress:
        options = Options(SecretStr("wrong"), api=discord.api_url)
        with pytest.raises(TokenRefused):
            await Gateway(options, ingress, pace=QUICK).run(asyncio.Event())

    assert discord.gateway.identifies == []


async def test_a_stop_leaves_a_session_that_the_next_process_resumes(
    bus: Bus, discord: FakeDiscord, tmp_path: Path
) -> None:
    """What is written while nobody reads is there for whoever comes next."""
    home = discord.guild("home")
    async with reading(bus, discord, keep=tmp_path) as gateway:
        await discord.message("before", guild=home)
        await until(lambda: gateway.totals()["events"] >= 2)
        with pytest.raises(ShardTaken):
            await Gateway(gateway._options, gateway._ingress, pace=QUICK).run(asyncio.Event())
    await discord.message("meanwhile", guild=home)
    async with reading(bus, discord, keep=tmp_path) as gateway:
        await until(lambda: gateway.totals()["resumes"] == 1)
        await discord.message("after", guild=home)
        await until(lambda: gateway.totals()["events"] >= 2)

    assert len(discord.gateway.identifies) == 1
    assert await texts(bus, home["id"]) == ["before", "meanwhile", "after"]


async def test_kill_9_in_the_middle_of_a_burst_loses_and_doubles_nothing(
    bus: Bus, discord: FakeDiscord, tmp_path: Path
) -> None:
    """The next process resumes from what is stored; what was stored after it was written down is not stored twice."""
    home = discord.guild("home")
    creds = tmp_path / "creds"
    creds.write_text(bus.creds)
    spec = {"url": bus.url, "creds": str(creds), "token": discord.token, "api": discord.api_url, "keep": str(tmp_path)}
    worker = [sys.executable, str(Path(__file__).with_name("gateway_worker.py")), json.dumps(spec)]
    written: list[str] = []
    for turn in range(4):
        process = await asyncio.create_subprocess_exec(*worker)
        try:
            await discord.connected(within=30)
            for number in range(turn * 1000, turn * 1000 + 800):
                await discord.message(f"m{number}", guild=home)
                written.append(f"m{number}")
                await asyncio.sleep(0.001)
            if turn == 3:
                async with asyncio.timeout(60):
                    while await count(bus, home["id"]) < len(written):
                        await asyncio.sleep(0.1)
        finally:
            process.send_signal(signal.SIGTERM if turn == 3 else signal.SIGKILL)
            await process.wait()
        if turn < 3:
            await until(lambda: not discord.gateway.of_shard(None))
        for number in range(turn * 1000 + 800, turn * 1000 + 800 + random.Random(turn).randrange(50)):
            if turn < 3:
                await discord.message(f"m{number}", guild=home)
                written.append(f"m{number}")

    assert await texts(bus, home["id"]) == written
    assert len(discord.gateway.identifies) == 1
