"""One control plane for all sandbox tests of a process; each test has owners of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.conftest import Servers
from tests.sandbox.plane import ADMINISTRATOR, MovableClock, Team, compose, developer, fresh_owner, remains

from valhalla.kit.cellkey import CellKey
from valhalla.runtime import Runtime


@pytest.fixture(scope="session")
def ticking() -> MovableClock:
    return MovableClock()


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """The control plane's data directory; its templates are the tests' to write."""
    path = Path(tempfile.mkdtemp(prefix="vh-sandbox-"))
    path.chmod(0o711)
    (path / "templates").mkdir()
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
async def runtime(servers: Servers, ticking: MovableClock, folder: Path) -> AsyncGenerator[Runtime]:
    """A started control plane on real servers; its reaper has run once and waits for the tests."""
    composed = await compose(servers, CellKey.parse("s" * 43), folder, clock=ticking, name="valhalla_sandboxes")
    await composed.start(lambda _key: None)
    yield composed
    await composed.stop()


@pytest.fixture
def clock(ticking: MovableClock) -> Iterator[MovableClock]:
    """The control plane's clock, right again after the test."""
    yield ticking
    ticking.ahead = timedelta(0)


async def _team(runtime: Runtime) -> AsyncGenerator[Team]:
    team = Team(runtime, developer(fresh_owner()))
    yield team
    for sandbox in await team.live():
        # one whose end waits for the reaper is the reaper's
        await team.destroy(sandbox.id, wait=0.1 if sandbox.status == "destroying" else 10)


@pytest.fixture
async def team(runtime: Runtime) -> AsyncGenerator[Team]:
    """A developer's view; what is left at the end is destroyed."""
    async for made in _team(runtime):
        yield made


@pytest.fixture
async def stranger(runtime: Runtime) -> AsyncGenerator[Team]:
    """Another developer's view."""
    async for made in _team(runtime):
        yield made


@pytest.fixture
def admin(runtime: Runtime) -> Team:
    """The operator's view."""
    return Team(runtime, ADMINISTRATOR)


Left = Callable[[str], Awaitable[list[str]]]


@pytest.fixture
def left(runtime: Runtime, servers: Servers) -> Left:
    """Tell what the backends hold for a sandbox."""
    url = servers.endpoints.valkey_url
    assert url is not None
    return lambda sandbox_id: remains(runtime, sandbox_id, url)
