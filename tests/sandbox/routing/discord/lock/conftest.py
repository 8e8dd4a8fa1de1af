"""discord.py led to the lock instead of Discord."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from discord.http import Route
from tests.sandbox.plane import Team
from tests.sandbox.routing.discord.scene import Scene, locked

from valhalla.runtime import Runtime
from valhalla.testing.discord import FakeDiscord


@pytest.fixture
async def scene(
    runtime: Runtime, team: Team, fake: FakeDiscord, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    async with locked(runtime, team, fake) as made:
        monkeypatch.setattr(Route, "BASE", f"http://127.0.0.1:{made.port}/api/v10")
        yield made
