"""The reaper: what it ends, finishes and sweeps, and above all what it leaves alone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.sandbox.conftest import Left
from tests.sandbox.plane import WHOLE, MovableClock, Team, set_row, work_in

from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Unavailable
from valhalla.runtime import Runtime
from valhalla.sandbox.slices.contracts import SLICES, Names

LATER = timedelta(seconds=61)
"""Longer than the orphans' grace period."""


def about(items: list[dict[str, str]], sandbox_id: str) -> list[str]:
    """Return what a report says about one sandbox."""
    return sorted(f"{item['slice']} {item['kind']}" for item in items if item["sandbox_id"] == sandbox_id)


class TestExpiry:
    """What is over is ended."""

    async def test_to_the_end_with_audit(self, team: Team, runtime: Runtime, clock: MovableClock, left: Left) -> None:
        created = await team.create(ttl="1h", name=team.owner)
        longer = await team.new(ttl="2h")
        assert created.connection is not None
        await work_in(created.connection)
        clock.ahead = timedelta(minutes=59)
        assert created.sandbox.id not in (await runtime.reaper.once()).expired
        clock.ahead = timedelta(hours=1)
        dry = await runtime.reaper.once(dry_run=True)
        assert created.sandbox.id in dry.expired
        assert (await team.get(created.sandbox.id)).status == "running"
        report = await runtime.reaper.once()
        assert created.sandbox.id in report.expired
        assert created.sandbox.id in report.destroyed
        assert (await team.get(created.sandbox.id)).status == "destroyed"
        assert await left(created.sandbox.id) == []
        entries = await team.audit(created.sandbox.id)
        assert [entry.action for entry in entries][-3:] == ["status_changed", "destroying", "destroyed"]
        assert entries[-3].details["to"] == "expired"
        assert {entry.actor for entry in entries[-3:]} == {"reaper"}
        assert (await team.get(longer.id)).status == "running"
        await team.new(name=team.owner)

    async def test_an_extension_that_was_faster_wins(
        self, team: Team, runtime: Runtime, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was due when the reaper looked, but has been extended since, lives."""
        from valhalla.kit import lifecycle

        sandbox = await team.new(ttl="1h")
        clock.ahead = timedelta(hours=1)
        take = lifecycle.take

        def late(conn: Any, *args: Any, **said: Any) -> Any:
            from valhalla.sandbox import store

            before = sandbox.expires_at
            store.set_expiry(conn, sandbox.id, before + timedelta(hours=1), before=before)
            return take(conn, *args, **said)

        monkeypatch.setattr(lifecycle, "take", late)
        await runtime.reaper.once()
        assert (await team.get(sandbox.id)).status == "running"

    async def test_a_crash_between_expiry_and_destruction(self, team: Team, runtime: Runtime, left: Left) -> None:
        sandbox = await team.new()
        await set_row(runtime, sandbox.id, status="expired", lease_until=datetime.now(UTC))
        assert sandbox.id in (await runtime.reaper.once()).destroyed
        assert await left(sandbox.id) == []


class TestStuck:
    """What nobody works on any more is finished."""

    @pytest.mark.parametrize("status", ["pending", "creating"])
    async def test_a_creation_whose_lease_is_out(
        self, team: Team, runtime: Runtime, left: Left, clock: MovableClock, status: str
    ) -> None:
        sandbox = await team.new()
        await set_row(
            runtime,
            sandbox.id,
            status=status,
            lease_until=datetime.now(UTC) + timedelta(seconds=1),
            idempotency_key="k",
        )
        assert (await runtime.reaper.once()).resumed == []
        assert (await team.get(sandbox.id)).status == status
        clock.ahead = timedelta(seconds=2)
        assert sandbox.id in (await runtime.reaper.once(dry_run=True)).resumed
        report = await runtime.reaper.once()
        assert sandbox.id in report.resumed
        assert sandbox.id in report.destroyed
        assert await left(sandbox.id) == []
        assert (await team.actions(sandbox.id))[-2:] == ["failed", "destroyed"]
        assert not (await team.create(key="k")).replayed

    async def test_a_destruction_that_failed_is_repeated_until_it_succeeds(
        self, team: Team, runtime: Runtime, left: Left, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sandbox = await team.new()

        async def away(_names: Names) -> None:
            raise Unavailable("nats", "nats is on holiday")

        with monkeypatch.context() as patch:
            patch.setattr(runtime.backends.nats, "drop", away)
            ended = await team.destroy(sandbox.id, wait=0.3)
            assert (ended.status, ended.last_error) == ("destroying", "nats: nats is on holiday")
            assert not any(item.startswith(("postgres", "valkey")) for item in await left(sandbox.id))
            report = await runtime.reaper.once()
            assert sandbox.id in report.failed
        report = await runtime.reaper.once()
        assert sandbox.id in report.destroyed
        ended = await team.get(sandbox.id)
        assert (ended.status, ended.last_error) == ("destroyed", None)
        assert await left(sandbox.id) == []
        assert (await team.actions(sandbox.id)).count("destroyed") == 1

    async def test_a_destruction_under_way_is_left_alone(
        self, team: Team, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its lease runs: the reaper neither joins in nor takes its things for orphans."""
        sandbox = await team.new()
        at_work, go_on = asyncio.Event(), asyncio.Event()
        drop = runtime.backends.nats.drop

        async def slow(names: Names) -> None:
            at_work.set()
            await go_on.wait()
            await drop(names)

        monkeypatch.setattr(runtime.backends.nats, "drop", slow)
        await team.destroy(sandbox.id, wait=0)
        await at_work.wait()
        report = await runtime.reaper.once()
        assert sandbox.id not in (*report.resumed, *report.destroyed, *report.failed)
        assert about(report.orphans, sandbox.id) == []
        go_on.set()
        assert (await team.destroy(sandbox.id, wait=5)).status == "destroyed"

    async def test_one_broken_sandbox_does_not_hold_up_the_rest(
        self, team: Team, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken, fine = await team.new(), await team.new()
        for sandbox in (broken, fine):
            await set_row(runtime, sandbox.id, status="destroying", lease_until=datetime.now(UTC))
        drop = runtime.backends.postgres.drop

        async def picky(names: Names) -> None:
            if names.id == broken.id:
                raise RuntimeError("no")
            await drop(names)

        with monkeypatch.context() as patch:
            patch.setattr(runtime.backends.postgres, "drop", picky)
            report = await runtime.reaper.once()
        assert fine.id in report.destroyed
        assert broken.id in report.failed
        assert broken.id in (await runtime.reaper.once()).destroyed


EVERY_KIND = sorted([*WHOLE, "sqlite folder"])


class TestOrphans:
    """What carries our mark but belongs to no sandbox."""

    async def _make(self, runtime: Runtime) -> Names:
        arena = runtime.backends.postgres.arenas.current
        names = Names.for_sandbox(new_id(), cell=runtime.cell.cell, database=arena, slices=SLICES)
        for part in runtime.backends:
            await part.provision(names, expires_at=datetime.now(UTC) + timedelta(hours=1))
        await work_in(runtime.backends.connection(names, expires_at=datetime.now(UTC) + timedelta(hours=1)))
        return names

    async def test_every_kind_is_reported_survives_the_grace_and_goes(
        self, runtime: Runtime, clock: MovableClock, left: Left
    ) -> None:
        names = await self._make(runtime)
        everything = await left(names.id)
        assert set(EVERY_KIND) <= set(everything)
        dry = await runtime.reaper.once(dry_run=True)
        assert about(dry.orphans, names.id) == EVERY_KIND
        assert about(dry.removed, names.id) == []
        report = await runtime.reaper.once()
        assert about(report.orphans, names.id) == EVERY_KIND
        assert about(report.removed, names.id) == []
        clock.ahead = timedelta(seconds=59)
        assert about((await runtime.reaper.once()).removed, names.id) == []
        assert await left(names.id) == everything
        clock.ahead = LATER
        dry = await runtime.reaper.once(dry_run=True)
        assert about(dry.removed, names.id) == []
        assert await left(names.id) == everything
        report = await runtime.reaper.once()
        assert about(report.removed, names.id) == EVERY_KIND
        assert report.failed == {}
        assert await left(names.id) == []
        page = await runtime.db.read(lambda conn: runtime.ledger.page(conn, kind="sandbox", subject=names.id, limit=10))
        assert [entry.action for entry in page.items] == ["orphan_removed"] * len(EVERY_KIND)
        assert about((await runtime.reaper.once()).orphans, names.id) == []

    @pytest.mark.parametrize("kind", ["schema", "role", "user", "account"])
    async def test_each_kind_alone(self, runtime: Runtime, clock: MovableClock, left: Left, kind: str) -> None:
        """What a crash may have left of a teardown."""
        names = await self._make(runtime)
        backends = runtime.backends
        if kind != "account":
            await backends.nats.cut(names)
            await backends.nats.drop(names)
        if kind != "user":
            await backends.valkey.cut(names)
            await backends.valkey.drop(names)
        if kind not in {"schema", "role"}:
            await backends.postgres.cut(names)
            await backends.postgres.drop(names)
        if kind == "role":
            connection = await backends.postgres.login(names)
            await connection.execute(f"DROP SCHEMA {names.schema} CASCADE")
            await connection.close()
        assert await left(names.id) != []
        await runtime.reaper.once()
        clock.ahead = LATER
        await runtime.reaper.once()
        assert await left(names.id) == []

    async def test_several_reapers_remove_the_same(self, runtime: Runtime, left: Left) -> None:
        """Whoever comes late finds it gone, or is told that it is busy; in no case does a run fail."""
        names = await self._make(runtime)
        postgres = runtime.backends.postgres
        found = [item for item in await postgres.found() if item.sandbox_id == names.id]
        assert sorted(item.kind for item in found) == ["role", "schema"]
        for item in sorted(found, key=lambda each: each.kind == "role"):
            answers = await asyncio.gather(*(postgres.remove(item) for _ in range(6)), return_exceptions=True)
            assert {type(answer) for answer in answers if answer is not None} <= {Unavailable}
            await postgres.remove(item)
        for part in runtime.backends:
            await part.cut(names)
            await part.drop(names)
        assert await left(names.id) == []

    async def test_of_a_destroyed_sandbox(self, runtime: Runtime, team: Team, clock: MovableClock, left: Left) -> None:
        """A worker that went on after its sandbox was declared gone."""
        sandbox = await team.new()
        await team.destroy(sandbox.id)
        await runtime.backends.valkey.provision(sandbox.names, expires_at=sandbox.expires_at)
        await runtime.reaper.once()
        clock.ahead = LATER
        assert about((await runtime.reaper.once()).removed, sandbox.id) == ["valkey user"]
        assert await left(sandbox.id) == []

    async def test_the_grace_starts_anew_for_what_comes_back(
        self, runtime: Runtime, team: Team, clock: MovableClock
    ) -> None:
        """Seen, gone, and seen again is not old."""
        sandbox = await team.new()
        await team.destroy(sandbox.id)
        valkey = runtime.backends.valkey
        await valkey.provision(sandbox.names, expires_at=sandbox.expires_at)
        await runtime.reaper.once()
        await valkey.cut(sandbox.names)
        await runtime.reaper.once()
        clock.ahead = LATER
        await valkey.provision(sandbox.names, expires_at=sandbox.expires_at)
        assert about((await runtime.reaper.once()).removed, sandbox.id) == []
        await valkey.cut(sandbox.names)
