"""A Discord of each test's own."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from valhalla.testing.discord import FakeDiscord


@pytest.fixture
async def discord() -> AsyncGenerator[FakeDiscord]:
    async with FakeDiscord() as made:
        yield made
