"""The fake Discord, with a token of its own for each test."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest

from valhalla.testing.discord import FakeDiscord


@pytest.fixture
async def fake() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord(token=f"real-{secrets.token_hex(8)}") as made:
        yield made
