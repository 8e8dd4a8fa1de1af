"""The reaper when a backend was away, is slow or fails."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.conftest import Servers
from tests.sandbox.conftest import Left
from tests.sandbox.plane import MovableClock, Team, opened, work_in

from valhalla.kernel.problems import Unavailable
from valhalla.runtime import Runtime
from valhalla.sandbox.contracts import ReapReport
from valhalla.sandbox.errors import CreateFailed
from valhalla.sandbox.slices.contracts import Names

"""Longer than the orphans' grace period."""


class TestValkeyRestart:
    """The server keeps users in memory only."""

    async def test_live_sandboxes_get_their_users_back(
        self, team: Team, runtime: Runtime, servers: Servers, left: Left, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With their data, before the next create is answered; until then the verdict says what is wrong."""
        created, gone = await team.create(), await team.create()
        assert created.connection is not None
        await work_in(created.connection)
        await team.destroy(gone.sandbox.id)
        go_on = asyncio.Event()
        ensure = runtime.backends.valkey.ensure

        async def held_up(many: Any) -> None:
            await go_on.wait()
            await ensure(many)

        with monkeypatch.context() as patch:
            patch.setattr(runtime.backends.valkey, "ensure", held_up)
            await asyncio.to_thread(servers.stack.restart, "valkey")
            health = await runtime.sandboxes.health(team.principal, created.sandbox.id)
            assert health.health == "unhealthy"
            assert health.reasons[0].startswith("valkey")
            making = asyncio.create_task(team.create())
            await asyncio.sleep(0.3)
            assert not making.done()
            go_on.set()
            await making
        assert (await runtime.sandboxes.health(team.principal, created.sandbox.id)).health == "healthy"
        async with opened(created.connection) as session:
            assert await session.cache.get(created.connection["valkey"]["prefix"] + "order") == b"42"
        assert await left(gone.sandbox.id) == []

    async def test_the_reaper_does_the_same_without_the_watch(
        self, team: Team, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A restart that nobody noticed shows in the server's run id."""
        sandbox = await team.new()
        await runtime.backends.valkey.cut(sandbox.names)
        monkeypatch.setattr(runtime.reaper, "_valkey_run", "another")
        await runtime.reaper.once()
        assert (await runtime.sandboxes.health(team.principal, sandbox.id)).health == "healthy"

    async def test_one_that_is_destroyed_meanwhile_gets_none(
        self, team: Team, runtime: Runtime, left: Left, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The list of live sandboxes is old when its users are pushed: a door must not open again."""
        kept, gone = await team.new(), await team.new()
        ensure = runtime.backends.valkey.ensure

        async def late(many: Any) -> None:
            names = list(many)
            await team.destroy(gone.id, wait=5)
            await ensure(names)

        monkeypatch.setattr(runtime.backends.valkey, "ensure", late)
        monkeypatch.setattr(runtime.reaper, "_valkey_run", None)
        await runtime.reaper.once()
        assert await left(gone.id) == []
        assert "valkey user" in await left(kept.id)


async def test_a_backend_that_is_away_stops_only_its_own_part(
    team: Team, runtime: Runtime, clock: MovableClock, monkeypatch: pytest.MonkeyPatch, left: Left
) -> None:
    """Sandboxes expire in Postgres and NATS although Valkey does not answer, and the rest follows when it does."""
    sandbox = await team.new(ttl="1h")
    clock.ahead = timedelta(hours=1)

    async def away(*_: Any) -> Any:
        raise Unavailable("valkey", "valkey is on holiday")

    with monkeypatch.context() as patch:
        for verb in ("run_id", "cut", "drop", "found"):
            patch.setattr(runtime.backends.valkey, verb, away)
        report = await runtime.reaper.once()
        assert report.failed["valkey"] == "valkey is on holiday"
        assert sandbox.id in report.failed
        report = await runtime.reaper.once()
    assert await left(sandbox.id) == ["valkey user"]
    assert (await team.get(sandbox.id)).status == "destroying"
    report = await runtime.reaper.once()
    assert sandbox.id in report.destroyed
    assert await left(sandbox.id) == []


async def test_the_loop_outlives_a_failure_and_says_so(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on after any error, ``last_error`` tells, and a good run clears it."""
    calls: list[str | None] = []
    reaper = runtime.reaper
    stop = asyncio.Event()

    async def once(*, dry_run: bool = False) -> ReapReport:
        calls.append(reaper.last_error)
        if len(calls) == 1:
            raise RuntimeError("odd")
        if len(calls) == 2:
            raise Unavailable("postgres", "gone")
        if len(calls) == 3:
            return ReapReport(dry_run, failed={"nats": "quiet"})
        if len(calls) == 5:
            stop.set()
        return ReapReport(dry_run)

    monkeypatch.setattr(reaper, "once", once)
    monkeypatch.setattr(reaper, "_interval", 0.005)
    await asyncio.wait_for(reaper.run(stop), 5)
    assert calls[1:] == ["RuntimeError: odd", "gone", "quiet", None]
    assert reaper.last_error is None


async def test_a_failed_creation_is_not_held_up_by_what_it_could_not_remove(
    team: Team, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, left: Left
) -> None:
    """A backend breaks in the middle of the creation and of its clean-up: the first error is told, the rest reaped."""

    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("disk on fire")

    with monkeypatch.context() as patch:
        for verb in ("provision", "cut", "drop"):
            patch.setattr(runtime.backends.nats, verb, broken)
        with pytest.raises(CreateFailed):
            await team.create()
    (row,) = await team.all()
    assert row.status == "destroying"
    assert not any(item.startswith(("postgres", "valkey")) for item in await left(row.id))
    assert row.id in (await runtime.reaper.once()).destroyed
    assert await left(row.id) == []


async def test_a_slow_server_does_not_cost_the_lease(
    team: Team, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A creation that waits for a backend longer than its lease is alive all the same: nobody takes it over."""
    provision = runtime.backends.valkey.provision

    async def slow(names: Names, **said: Any) -> None:
        await asyncio.sleep(1.5)
        await provision(names, **said)

    monkeypatch.setattr(runtime.backends.valkey, "provision", slow)
    making = asyncio.create_task(team.create())
    while not making.done():
        await asyncio.sleep(0.2)
        assert (await runtime.reaper.once()).resumed == []
    assert (await making).sandbox.status == "running"
