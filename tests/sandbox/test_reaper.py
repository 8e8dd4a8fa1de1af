"""The reaper: what it ends, finishes and sweeps, and above all what it leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.conftest import Servers
from tests.sandbox.conftest import Left
from tests.sandbox.plane import WHOLE, MovableClock, Team, opened, set_row, work_in

from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Unavailable
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.runtime import Runtime
from valhalla.sandbox.contracts import ReapReport
from valhalla.sandbox.errors import CreateFailed
from valhalla.sandbox.slices.contracts import SLICES, Names
from valhalla.sandbox.slices.nats import NatsSlice
from valhalla.sandbox.slices.valkey import ValkeySlice

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


class TestNeverTouched:
    """The defect that must not return: a clean-up that destroys what lives."""

    @pytest.fixture
    async def foreign(self, servers: Servers) -> AsyncGenerator[list[Any]]:
        """The same servers as another cell uses them, with a sandbox of its own in each."""
        cell = CellKey.parse("t" * 43)
        valkey = ValkeySlice(str(servers.endpoints.valkey_url), cell)
        nats = NatsSlice(
            str(servers.endpoints.nats_url),
            cell,
            operator=natsauth.operator_key(servers.cell),
            system_creds=natsauth.system_creds(servers.cell),
            jwt_dir=servers.endpoints.nats_jwt_dir,
        )
        names = Names.for_sandbox(new_id(), cell=cell.cell, database="elsewhere")
        # what a sandbox imports is its control plane's, so that is there first
        await nats.push_control_account()
        for part in (valkey, nats):
            await part.provision(names, expires_at=datetime.now(UTC) + timedelta(hours=1))
        yield [names, valkey, nats]
        for part in (valkey, nats):
            await part.cut(names)
            await part.drop(names)
            await part.close()

    async def test_live_sandboxes(self, team: Team, runtime: Runtime, clock: MovableClock) -> None:
        """Whatever the clock and however often: nothing of a running sandbox is even suspected."""
        created = [await team.create(ttl="168h") for _ in range(2)]
        for step in range(4):
            clock.ahead = step * LATER
            report = await runtime.reaper.once()
            for each in created:
                assert about(report.orphans, each.sandbox.id) == []
        clock.ahead = timedelta(0)
        for each in created:
            assert each.connection is not None
            await work_in(each.connection)

    async def test_another_cells_things(
        self, runtime: Runtime, clock: MovableClock, foreign: list[Any], servers: Servers
    ) -> None:
        """Marked like ours, by another installation on the same servers."""
        import asyncpg

        names, *parts = foreign
        admin = await asyncpg.connect(servers.superuser_url)
        await admin.execute(f"CREATE ROLE {names.role}; CREATE SCHEMA {names.schema} AUTHORIZATION {names.role}")
        try:
            for ahead in (timedelta(0), LATER, 2 * LATER):
                clock.ahead = ahead
                report = await runtime.reaper.once()
                assert about(report.orphans, names.id) == []
            for part in parts:
                assert [item.sandbox_id for item in await part.found()] == [names.id]
                assert (await part.probe(names)).ok
            assert await admin.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", names.role) == 1
            assert await admin.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = $1", names.schema) == 1
        finally:
            await admin.execute(f"DROP SCHEMA {names.schema}; DROP ROLE {names.role}")
            await admin.close()

    async def test_what_only_looks_like_ours(self, runtime: Runtime, clock: MovableClock, servers: Servers) -> None:
        """Schemas, roles and users whose names match a careless pattern."""
        import asyncpg
        import redis.asyncio

        arena = runtime.backends.postgres.arenas.current
        url = servers.superuser_url.rpartition("/")[0] + f"/{arena}"
        schemas = ["sbx", "sbxz" + "a" * 15, "sbx_short", "sbx_" + "A" * 16, "sbx_" + "a" * 17, "production"]
        admin = await asyncpg.connect(url)
        valkey: Any = redis.asyncio.Redis.from_url(str(servers.endpoints.valkey_url))
        users = [
            f"vh_{runtime.cell.cell}_x",
            f"vh_{runtime.cell.cell}0_{'a' * 16}",
            f"svh_{runtime.cell.cell}_{'a' * 16}",
        ]
        try:
            for schema in schemas:
                await admin.execute(f'CREATE SCHEMA "{schema}"')
            for user in users:
                await valkey.execute_command("ACL", "SETUSER", user, "off")
            await valkey.set("production", "1")
            for ahead in (timedelta(0), LATER):
                clock.ahead = ahead
                assert (await runtime.reaper.once()).removed == []
            kept = await admin.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = ANY($1)", schemas)
            assert kept == len(schemas)
            left = {user.decode() for user in await valkey.execute_command("ACL", "USERS") if isinstance(user, bytes)}
            left |= {user for user in await valkey.execute_command("ACL", "USERS") if isinstance(user, str)}
            assert set(users) <= left
            assert await valkey.get("production") == b"1"
        finally:
            for schema in schemas:
                await admin.execute(f'DROP SCHEMA IF EXISTS "{schema}"')
            for user in users:
                await valkey.execute_command("ACL", "DELUSER", user)
            await valkey.delete("production")
            await admin.close()
            await valkey.aclose()

    async def test_one_that_is_made_while_the_reaper_looks(
        self, team: Team, runtime: Runtime, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whole sandboxes appear before, between and after the listings of the three backends."""
        made: list[Any] = []

        def making(part: Any) -> Any:
            found = part.found

            async def look() -> Any:
                made.append(await team.create())
                result = await found()
                if part.name == "nats":
                    made.append(await team.create())
                return result

            return look

        for part in runtime.backends:
            monkeypatch.setattr(part, "found", making(part))
        first = await runtime.reaper.once()
        monkeypatch.undo()
        clock.ahead = LATER
        second = await runtime.reaper.once()
        assert len(made) == len(list(runtime.backends)) + 1
        for each in made:
            assert about([*first.orphans, *second.orphans], each.sandbox.id) == []
            await work_in(each.connection)

    async def test_one_in_the_making(
        self, team: Team, runtime: Runtime, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Half of it exists and its row says creating: not an orphan, however long it takes."""
        at_work, go_on = asyncio.Event(), asyncio.Event()
        provision = runtime.backends.nats.provision

        async def slow(names: Names, **said: Any) -> None:
            await provision(names, **said)
            at_work.set()
            await go_on.wait()

        monkeypatch.setattr(runtime.backends.nats, "provision", slow)
        making = asyncio.create_task(team.create())
        await at_work.wait()
        (row,) = await team.all()
        reports: list[ReapReport] = [await runtime.reaper.once()]
        go_on.set()
        assert (await making).sandbox.status == "running"
        assert about(reports[0].orphans, row.id) == []
        assert row.id not in reports[0].resumed


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
