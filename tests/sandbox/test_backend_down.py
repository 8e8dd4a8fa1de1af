"""A backend that is down, or goes down in the middle: one clear answer, and nothing half-made once it is back.

On servers of their own, which the other tests do not feel.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Servers
from tests.sandbox.backends import BACKENDS, World
from tests.sandbox.plane import ADMINISTRATOR, MovableClock, compose, opened, work_in

from valhalla.embedded import Stack
from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.slices.contracts import Names


@pytest.fixture(scope="module")
async def whole_world() -> AsyncGenerator[World]:
    folder = Path(tempfile.mkdtemp(prefix="vh-down-"))
    folder.chmod(0o711)
    cell = CellKey.parse("d" * 43)
    stack = Stack(folder, cell, nats_operator=natsauth.trust(cell))
    try:
        servers = Servers(folder, cell, stack, stack.start())
        clock = MovableClock()
        runtime = await compose(servers, cell, folder, clock=clock, name="valhalla_down")
        await runtime.start(lambda _key: None)
        world = World(runtime, ADMINISTRATOR)
        world.servers, world.clock = servers, clock
        yield world
        await runtime.stop()
    finally:
        stack.stop()
        shutil.rmtree(folder)


@pytest.fixture
async def world(whole_world: World) -> AsyncGenerator[World]:
    yield whole_world
    whole_world.up()
    await whole_world.reap()
    for sandbox in await whole_world.live():
        await whole_world.destroy(sandbox.id)


@pytest.mark.parametrize("name", BACKENDS)
async def test_create(world: World, name: str) -> None:
    """The answer names the backend, comes soon, and the other backends hold nothing when it does."""
    key = f"down-{name}"
    world.down(name)
    begun = time.monotonic()
    with pytest.raises(Unavailable) as refusal:
        await world.create(key=key)
    assert time.monotonic() - begun < 5
    assert refusal.value.backend == name
    assert (refusal.value.status, name in refusal.value.detail.lower()) == (503, True)
    world.up(name)
    if name == "postgres":
        # the claim was never written
        assert "creating" not in {row.status for row in await world.all()}
    else:
        row = await world.newest()
        there = await world.left(row.id)
        assert [item for item in there if not item.startswith(name)] == []
        await world.reap()
        assert (await world.newest()).status == "destroyed"
        assert await world.left(row.id) == []
    created = await world.create(key=key)
    assert not created.replayed
    assert created.connection is not None
    await work_in(created.connection)


@pytest.mark.parametrize("name", BACKENDS)
async def test_destroy(world: World, name: str) -> None:
    """It says which backend, access is cut in the others at once, and it is finished when all are back."""
    created = await world.create()
    assert created.connection is not None
    await work_in(created.connection)
    sandbox = created.sandbox
    world.down(name)
    with pytest.raises(Unavailable) as refusal:
        await world.destroy(sandbox.id, wait=0)
    assert refusal.value.backend == name
    if name != "postgres":
        assert (await world.get(sandbox.id)).status == "destroying"
        assert refusal.value.extra["sandbox_status"] == "destroying"
        with pytest.raises(Exception, match=r"(?i)not permitted|auth|connect"):
            async with opened(created.connection):
                pass
        report = await world.reap()
        assert sandbox.id in report.failed
        assert name in report.failed
    world.up(name)
    if name == "postgres":
        # nothing was decided, nothing was cut: it runs on, and the caller repeats
        assert (await world.get(sandbox.id)).status == "running"
        assert (await world.destroy(sandbox.id)).status == "destroyed"
    else:
        assert sandbox.id in (await world.reap()).destroyed
    assert await world.left(sandbox.id) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKENDS)
async def test_it_goes_down_in_the_middle_of_a_creation(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the others have made their part."""
    part = next(each for each in world.runtime.backends if each.name == name)
    provision = part.provision

    async def failing(names: Names, **said: Any) -> None:
        await asyncio.sleep(0.1)
        await provision(names, **said)
        # its part is made, and then it is gone before the registry says running
        await asyncio.to_thread(world.down, name)
        if name != "postgres":
            await provision(names, **said)

    with monkeypatch.context() as patch:
        patch.setattr(part, "provision", failing)
        with pytest.raises(Unavailable) as refusal:
            await world.create(key=f"middle-{name}")
    assert refusal.value.backend == name
    world.up(name)
    row = await world.newest()
    assert row.status == ("creating" if name == "postgres" else "destroying")
    report = await world.reap()
    assert row.id in report.destroyed
    assert await world.left(row.id) == []
    assert not (await world.create(key=f"middle-{name}")).replayed


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKENDS)
async def test_it_goes_down_in_the_middle_of_a_destruction(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between cut and drop: the answer was given, access is gone, the rest follows."""
    created = await world.create()
    assert created.connection is not None
    await work_in(created.connection)
    part = next(each for each in world.runtime.backends if each.name == name)
    drop = part.drop

    async def failing(names: Names) -> None:
        await asyncio.to_thread(world.down, name)
        await drop(names)

    with monkeypatch.context() as patch:
        patch.setattr(part, "drop", failing)
        answer = await world.destroy(created.sandbox.id, wait=0)
        assert answer.status == "destroying"
        await world.runtime.sandboxes.close()
    world.up(name)
    assert (await world.get(created.sandbox.id)).status == "destroying"
    assert created.sandbox.id in (await world.reap()).destroyed
    assert await world.left(created.sandbox.id) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nats", "valkey", "postgres"])
async def test_a_silent_server(world: World, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that accepts connections and says nothing is waited for once; what the others made is gone meanwhile."""
    kept = await world.new()
    part = next(each for each in world.runtime.backends if each.name == name)
    again: list[str] = []

    def noting(verb: str) -> Any:
        async def note(*_: Any, **__: Any) -> None:
            again.append(verb)

        return note

    with world.frozen(name):
        begun = time.monotonic()
        with monkeypatch.context() as patch:
            for verb in ("cut", "drop"):
                patch.setattr(part, verb, noting(verb))
            with pytest.raises(Unavailable) as refusal:
                await world.create()
        assert refusal.value.backend == name
        assert "does not answer in time" in refusal.value.detail
        assert again == []
        # ten seconds are the longest patience, Postgres'; twice that would be two of them
        assert time.monotonic() - begun < 20
        if name == "postgres":
            return
        report = await world.runtime.sandboxes.health(world.principal, kept.id)
        assert report.health == "unhealthy"
        assert [reason.partition(":")[0] for reason in report.reasons] == [name]
        row = next(row for row in await world.all() if row.id != kept.id)
        assert await _elsewhere(world, row.id, name) == []
    await world.reap()
    assert (await world.get(row.id)).status == "destroyed"
    assert await world.left(row.id) == []


async def _elsewhere(world: World, sandbox_id: str, name: str) -> list[str]:
    """Return what the other backends hold."""
    found: list[str] = []
    for part in world.runtime.backends:
        if part.name != name:
            found += [item.name for item in await part.found() if item.sandbox_id == sandbox_id]
    return found


async def test_a_silent_database_is_told_by_readiness(world: World) -> None:
    """The probes end by themselves and say which server does not answer."""
    from valhalla.server.readiness import readiness

    with world.frozen("valkey"):
        begun = time.monotonic()
        document = await readiness(world.runtime)
        assert time.monotonic() - begun < 10
    assert document["status"] == "not-ready"
    assert not document["checks"]["valkey"]["ok"]
    assert document["checks"]["valkey"]["help"]
    assert document["checks"]["postgres"]["ok"]


async def test_a_stop_while_a_template_hangs(world: World) -> None:
    """A process that is told to end does not wait for a command of five minutes, and leaves nothing of it."""
    folder = world.runtime.settings.data_dir / "templates" / "hangs"
    folder.mkdir(parents=True)
    script = "import time; time.sleep(300)"
    (folder / "template.toml").write_text(f"command = ['{sys.executable}', '-c', '{script}']")
    making = asyncio.create_task(world.create(template="hangs"))
    while not any(row.status == "creating" for row in await world.all()):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    begun = time.monotonic()
    await world.runtime.sandboxes.close(patience=0.3)
    with pytest.raises((asyncio.CancelledError, Problem)):
        await making
    assert time.monotonic() - begun < 10
    row = await world.newest()
    assert row.status == "destroyed"
    assert await world.left(row.id) == []
