"""A control plane with small quotas, whose watchdog runs when a test says so."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.conftest import Servers
from tests.sandbox.plane import MovableClock, Team, compose, developer, fresh_owner

from valhalla.kit.cellkey import CellKey
from valhalla.runtime import Runtime


@pytest.fixture(scope="session")
async def small(servers: Servers) -> AsyncGenerator[Runtime]:
    """A started control plane: 100 objects, 20 MB, 300 keys and 1 MB per sandbox."""
    folder = Path(tempfile.mkdtemp(prefix="vh-quota-"))
    runtime = await compose(
        servers,
        CellKey.parse("q" * 43),
        folder,
        clock=MovableClock(),
        name="valhalla_quota",
        quota_objects=100,
        quota_postgres_mb=20,
        quota_valkey_keys=300,
        quota_valkey_mb=1,
    )
    await runtime.start(lambda _key: None)
    yield runtime
    await runtime.stop()
    shutil.rmtree(folder)


@pytest.fixture
async def team(small: Runtime) -> AsyncGenerator[Team]:
    """A developer's view; what is left at the end is destroyed."""
    made = Team(small, developer(fresh_owner()))
    yield made
    for sandbox in await made.live():
        await made.destroy(sandbox.id)
