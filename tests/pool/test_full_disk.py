"""A disk that is full: creates say so, nothing half-made stays, and all is well when there is room again."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import Servers
from tests.pool.test_bursts import agreement
from tests.sandbox.plane import MovableClock, Team, compose, developer, fresh_owner, within, work_in
from tests.servers import Postgres, start_postgres

from valhalla.kernel.problems import Problem
from valhalla.kit.cellkey import CellKey
from valhalla.runtime import Runtime

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small_disk() -> Iterator[Path]:
    """A tmpfs of 160 MB; making one takes root."""
    folder = Path(tempfile.mkdtemp(prefix="vh-disk-"))
    mounted = os.geteuid() == 0 and (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m,mode=0755", "tmpfs", folder], check=False).returncode
        == 0
    )
    if not mounted:
        folder.rmdir()
        pytest.skip("a small tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
async def cramped(small_disk: Path, servers: Servers) -> AsyncGenerator[tuple[Runtime, Path]]:
    """A control plane whose Postgres lies on the small disk, and a file that takes what room there is."""
    database: Postgres = await asyncio.to_thread(start_postgres, small_disk)
    endpoints = replace(servers.endpoints, postgres_superuser_url=database.url)
    folder = Path(tempfile.mkdtemp(prefix="vh-cramped-"))
    runtime = await compose(
        replace(servers, endpoints=endpoints),
        CellKey.parse("f" * 43),
        folder,
        clock=MovableClock(),
        name="valhalla_cramped",
        max_sandboxes_per_owner=1000,
    )
    await runtime.start(lambda _key: None)
    yield runtime, small_disk / "ballast"
    await runtime.stop()
    database.stop()
    shutil.rmtree(folder)


def fill_up(ballast: Path) -> None:
    """Take every byte that is left."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 65_536)
        except OSError:
            return


async def test_creates_fail_with_the_reason_and_leave_nothing(cramped: tuple[Runtime, Path]) -> None:
    """While the disk is full every create is refused; what was there works on, and room makes everything well."""
    runtime, ballast = cramped
    team = Team(runtime, developer(fresh_owner()))
    kept = await team.create()
    assert kept.connection is not None
    await work_in(kept.connection)
    fill_up(ballast)
    refused: list[Problem] = []
    try:
        for number in range(20):
            try:
                await team.create(template="community", key=f"full-{number}")
            except Problem as problem:
                refused.append(problem)
    finally:
        ballast.unlink()
    assert refused
    assert {problem.status for problem in refused} == {503}
    assert any("disk" in problem.detail for problem in refused), [problem.detail for problem in refused]

    async def recovered() -> bool:
        try:
            await runtime.reaper.once()
            return (await team.create(template="community", key="room")).sandbox.status == "running"
        except Problem:
            return False

    await within(30, recovered)
    for sandbox in await team.live():
        if sandbox.id != kept.sandbox.id:
            await team.destroy(sandbox.id)
    await runtime.reaper.once()
    await agreement(runtime)
    await work_in(kept.connection)
