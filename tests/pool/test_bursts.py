"""A server that is restarted in the middle of a burst of creates: they wait or say why not, and nothing is doubled.

On servers of their own, which the other tests do not feel.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.conftest import Servers
from tests.sandbox.plane import MovableClock, Team, compose, developer, fetch, fresh_owner, within, work_in

from valhalla.embedded import Stack
from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.runtime import Runtime
from valhalla.sandbox.creation import Created

CALLERS = 16


@pytest.fixture(scope="module")
async def lone() -> AsyncGenerator[tuple[Runtime, Stack]]:
    """A control plane with everything running, on its own servers."""
    folder = Path(tempfile.mkdtemp(prefix="vh-burst-"))
    folder.chmod(0o711)
    cell = CellKey.parse("b" * 43)
    stack = Stack(folder, cell, nats_operator=natsauth.trust(cell))
    try:
        servers = Servers(folder, cell, stack, stack.start())
        runtime = await compose(
            servers,
            cell,
            folder,
            clock=MovableClock(),
            name="valhalla_burst",
            pool_size=8,
            arena_size=10,
            reap_interval=timedelta(seconds=0.3),
            orphan_grace=timedelta(0),
        )
        await runtime.start(lambda _key: None)
        yield runtime, stack
        await runtime.stop()
    finally:
        stack.stop()
        shutil.rmtree(folder)


async def insist(team: Team, key: str) -> tuple[Created, list[Problem]]:
    """Create with a key until it is answered; whatever else comes is a problem that says what is the matter."""
    refused: list[Problem] = []
    async with asyncio.timeout(60):
        while True:
            try:
                return await team.create(key=key, template="community"), refused
            except Problem as problem:
                if problem.status not in {409, 503} or not problem.detail:
                    raise
                refused.append(problem)
                await asyncio.sleep(0.1)


async def agreement(runtime: Runtime) -> None:
    """Wait until nothing is on its way, then compare the registry with every backend."""

    async def settled() -> bool:
        rows = await fetch(
            runtime,
            "SELECT id FROM valhalla.sandboxes WHERE status NOT IN ('running', 'destroyed', 'pending')"
            " OR (status = 'pending' AND slot_ready_at IS NULL)",
        )
        return rows == []

    async def agreed() -> bool:
        await within(30, settled)
        found = {f"{item.kind} {item.sandbox_id}" for part in runtime.backends for item in await part.found()}
        rows = await fetch(runtime, "SELECT id FROM valhalla.sandboxes WHERE status <> 'destroyed'")
        return found == {f"{kind} {row['id']}" for row in rows for kind in ("role", "schema", "user", "account")}

    # the pool goes on being filled between two looks
    await within(30, agreed)


@pytest.mark.parametrize(
    "name", ["postgres", *(pytest.param(one, marks=pytest.mark.slow) for one in ("valkey", "nats"))]
)
@pytest.mark.parametrize("how", ["restarted", pytest.param("killed", marks=pytest.mark.slow)])
async def test_in_a_burst(lone: tuple[Runtime, Stack], name: str, how: str) -> None:
    """Every caller ends up with one sandbox of its own that works in every backend."""
    runtime, stack = lone
    teams = [Team(runtime, developer(fresh_owner())) for _ in range(CALLERS)]
    burst = [asyncio.create_task(insist(team, f"{team.owner}-1")) for team in teams]
    await asyncio.sleep(0.05)
    if how == "killed":
        os.kill(stack.pids()[name], signal.SIGKILL)
    await asyncio.to_thread(stack.restart, name)
    answers = await asyncio.gather(*burst)
    made = [created for created, _ in answers]
    assert len({created.sandbox.id for created in made}) == CALLERS
    for _, refused in answers:
        assert all(isinstance(each, Unavailable) or each.status == 409 for each in refused), refused
    for created in made[::4]:
        assert created.connection is not None
        await work_in(created.connection)
    for team, created in zip(teams, made, strict=True):
        assert [sandbox.id for sandbox in await team.live()] == [created.sandbox.id]
    await asyncio.gather(*(team.destroy(created.sandbox.id) for team, created in zip(teams, made, strict=True)))
    await agreement(runtime)


@pytest.mark.slow
async def test_a_full_arena_refuses_nobody(lone: tuple[Runtime, Stack]) -> None:
    """A burst larger than an arena goes into the open one until the next is there; all of them work."""
    runtime, _ = lone
    teams = [Team(runtime, developer(fresh_owner())) for _ in range(CALLERS)]
    made = await asyncio.gather(*(team.create() for team in teams))
    await within(20, lambda: _next(runtime, {created.sandbox.names.database for created in made}))
    later = await teams[0].create()
    for created in (*made[::6], later):
        assert created.connection is not None
        await work_in(created.connection)
    await asyncio.gather(*(team.destroy(created.sandbox.id) for team, created in zip(teams, made, strict=True)))
    await teams[0].destroy(later.sandbox.id)
    await agreement(runtime)


async def _next(runtime: Runtime, used: set[str]) -> bool:
    return runtime.backends.postgres.arenas.current not in used or len(used) > 1
