"""Arenas are opened when full, never refilled, and dropped whole when drained."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from tests.conftest import Servers
from tests.sandbox.plane import MovableClock, Team, compose, developer, fresh_owner

from valhalla.kit.cellkey import CellKey
from valhalla.runtime import Runtime


@pytest.fixture(scope="module")
async def small(servers: Servers) -> AsyncGenerator[tuple[Runtime, MovableClock]]:
    """A control plane whose arenas take three sandboxes."""
    folder = Path(tempfile.mkdtemp(prefix="vh-arena-"))
    clock = MovableClock()
    cell = CellKey.parse("a" * 43)
    runtime = await compose(servers, cell, folder, clock=clock, name="valhalla_arenas", arena_size=3)
    await runtime.start(lambda _key: None)
    yield runtime, clock
    await runtime.stop()
    shutil.rmtree(folder)


async def test_a_full_arena_is_followed_by_the_next_and_dropped_when_drained(
    small: tuple[Runtime, MovableClock], servers: Servers
) -> None:
    """Sandboxes of both arenas work side by side; the first database is gone once its last sandbox is."""
    runtime, clock = small
    team = Team(runtime, developer(fresh_owner()))
    first = [await team.new() for _ in range(3)]
    assert {sandbox.names.database for sandbox in first} == {runtime.backends.postgres.arenas.name_of(1)}
    await runtime.reaper.once()
    second = await team.create()
    assert second.sandbox.names.database == runtime.backends.postgres.arenas.name_of(2)
    assert second.connection is not None
    old = await asyncpg.connect((await team.connection(first[0].id))["postgres"]["url"])
    await old.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        # the way from one arena into another is closed too
        await asyncpg.connect(second.connection["postgres"]["url"].replace("arena_2", "arena_1"))
    for sandbox in first:
        await team.destroy(sandbox.id)
    await runtime.reaper.once()
    assert len(await runtime.backends.postgres.arenas.list()) == 2, "an arena waits until every process knows it closed"
    clock.ahead += timedelta(minutes=2)
    report = await runtime.reaper.once()
    assert report.arenas_dropped == [runtime.backends.postgres.arenas.name_of(1)]
    assert await runtime.backends.postgres.arenas.list() == [runtime.backends.postgres.arenas.name_of(2)]
    admin = await asyncpg.connect(servers.superuser_url)
    roles = await admin.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", report.arenas_dropped[0])
    await admin.close()
    assert roles == 0
    assert (await team.get(second.sandbox.id)).status == "running"
