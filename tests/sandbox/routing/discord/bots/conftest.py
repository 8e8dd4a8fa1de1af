"""discord.py led to us: sandboxes' bots to the gateway and the lock, production's to the fake Discord."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route
from pydantic import SecretStr
from tests.sandbox.plane import Team
from tests.sandbox.routing.discord.bots.bot import QUICK
from tests.sandbox.routing.discord.scene import Scene, locked

from valhalla.kit import natsauth
from valhalla.runtime import Runtime
from valhalla.sandbox.routing.discord.gateway import Gateway, Options
from valhalla.sandbox.routing.discord.gateway.intents import parse
from valhalla.sandbox.routing.discord.gateway.pace import Pace as ReadingPace
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.testing.discord import FakeDiscord


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
