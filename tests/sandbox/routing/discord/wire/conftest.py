"""The gateway of bots with the limits of an impatient one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.sandbox.plane import Team
from tests.sandbox.routing.discord.scene import Scene, locked

from valhalla.runtime import Runtime
from valhalla.sandbox.routing.discord.bots.pace import Pace
from valhalla.testing.discord import FakeDiscord

BRISK = Pace(identify_every=0.0, identifies=4, looking=0.02, running=0.1, batch=16, each=3, kept=50)


@pytest.fixture
async def scene(runtime: Runtime, team: Team, fake: FakeDiscord) -> AsyncIterator[Scene]:
    async with locked(runtime, team, fake, pace=BRISK, production=True) as made:
        yield made
