"""The end of a gateway client: refused, stopped or killed, it says so or is followed by the next."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.sandbox.routing.conftest import Bus
from tests.sandbox.routing.discord.gateway.reading import QUICK, count, reading, texts, until

from valhalla.kernel.problems import Problem
from valhalla.sandbox.routing.discord.gateway import Gateway, Options
from valhalla.sandbox.routing.discord.gateway.errors import GatewayRefused, ShardTaken, TokenRefused
from valhalla.testing.discord import FakeDiscord

pytestmark = pytest.mark.slow


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
