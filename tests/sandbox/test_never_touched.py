"""What the reaper leaves alone, whatever it looks like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.conftest import Servers
from tests.sandbox.plane import MovableClock, Team, work_in

from valhalla.kernel.ids import new_id
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.runtime import Runtime
from valhalla.sandbox.contracts import ReapReport
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.nats import NatsSlice
from valhalla.sandbox.slices.valkey import ValkeySlice

LATER = timedelta(seconds=61)
"""Longer than the orphans' grace period."""


def about(items: list[dict[str, str]], sandbox_id: str) -> list[str]:
    """Return what a report says about one sandbox."""
    return sorted(f"{item['slice']} {item['kind']}" for item in items if item["sandbox_id"] == sandbox_id)


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
