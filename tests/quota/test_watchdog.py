"""A sandbox that outgrows its quota is ended, told about, and gone; its neighbours are not touched."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import asyncpg
import pytest
from redis.exceptions import ResponseError
from tests.conftest import Servers
from tests.sandbox.plane import Team, fetch, open_cache, opened, remains, set_row, work_in

from valhalla.kernel.problems import Unavailable
from valhalla.runtime import Runtime
from valhalla.sandbox.quota import Excess
from valhalla.sandbox.quota.warnings import Warnings

TABLES = "DO $$ BEGIN FOR i IN 1..{0} LOOP EXECUTE 'CREATE TABLE t' || i || ' (id int)'; END LOOP; END $$"
FUNCTIONS = (
    "DO $$ BEGIN FOR i IN 1..{0} LOOP"
    " EXECUTE 'CREATE FUNCTION f' || i || '() RETURNS int LANGUAGE sql AS ''SELECT 1'''; END LOOP; END $$"
)
# of no use to TOAST's compression
NOISE = "(SELECT string_agg(md5(random()::text || g), '') FROM generate_series(1, 1000) g)"


async def run(connection: dict[str, Any], *statements: str) -> None:
    async with opened(connection) as session:
        for statement in statements:
            await session.sql.execute(statement)


async def told(runtime: Runtime, sandbox_id: str) -> list[dict[str, Any]]:
    return await fetch(
        runtime,
        f"SELECT type, data FROM valhalla.events WHERE subject = 'sandbox.{sandbox_id}' ORDER BY id",
    )


async def test_too_many_objects(small: Runtime, team: Team, servers: Servers) -> None:
    """Access ends, everything goes, and row, ledger and event say why; a neighbour with as much as it may stays."""
    greedy, modest = await team.create(), await team.create()
    assert greedy.connection is not None
    assert modest.connection is not None
    await run(greedy.connection, TABLES.format(101))
    await run(modest.connection, TABLES.format(100))
    async with opened(greedy.connection) as session:
        report = await small.reaper.once()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)):
            await session.sql.fetchval("SELECT 1")
    assert list(report.over_quota) == [greedy.sandbox.id]
    ended = await team.get(greedy.sandbox.id)
    assert ended.status == "destroyed"
    assert ended.last_error == "quota_exceeded: 101 objects in Postgres, 100 are allowed"
    assert await remains(small, ended.id, str(servers.endpoints.valkey_url)) == []
    assert await team.actions(ended.id) == ["created", "status_changed", "quota_exceeded", "destroyed"]
    (event,) = [each for each in await told(small, ended.id) if each["type"] == "sandbox.quota_exceeded"]
    assert {name: event["data"][name] for name in ("what", "measured", "limit")} == {
        "what": "objects in Postgres",
        "measured": 101,
        "limit": 100,
    }
    assert (await team.get(modest.sandbox.id)).status == "running"
    assert (await small.reaper.once()).over_quota == {}
    # who has nearly too much is warned, once
    (warning,) = [each for each in await told(small, modest.sandbox.id) if each["type"] == "sandbox.quota_warning"]
    assert (warning["data"]["what"], warning["data"]["measured"]) == ("objects in Postgres", 100)
    assert (await team.actions(modest.sandbox.id)).count("quota_warning") == 1
    assert "quota_warning" not in await team.actions(ended.id)


async def test_another_process_does_not_warn_again(small: Runtime, team: Team) -> None:
    """The ledger remembers what was told; what nears a second quota is told of separately."""
    near = Excess((await team.create()).sandbox.id, "objects in Postgres", 90, 100)
    other = Excess(near.sandbox_id, "keys in Valkey", 290, 300)
    one, two = Warnings(small.db, small.ledger), Warnings(small.db, small.ledger)
    assert await one.tell([near]) == [near]
    assert await two.tell([near, other]) == [other]
    assert await one.tell([]) == []
    assert await one.tell([near, other]) == []


async def test_functions_are_objects_too(small: Runtime, team: Team) -> None:
    """What is no relation is counted with the rest."""
    greedy = await team.create()
    assert greedy.connection is not None
    await run(greedy.connection, TABLES.format(50), FUNCTIONS.format(51))
    assert list((await small.reaper.once()).over_quota) == [greedy.sandbox.id]


@pytest.mark.parametrize("where", ["heap", "toast"])
async def test_too_many_bytes(small: Runtime, team: Team, where: str) -> None:
    """In rows, and in values that lie outside of them."""
    greedy, modest = await team.create(), await team.create()
    assert greedy.connection is not None
    assert modest.connection is not None
    await work_in(modest.connection)
    rows = "INSERT INTO big SELECT g, repeat('x', 1000) FROM generate_series(1, 22000) g"
    values = f"INSERT INTO big SELECT 1, (SELECT string_agg(a, '') FROM (SELECT {NOISE} AS a FROM generate_series(1, 700 + 0 * g)) s) FROM generate_series(1, 1) g"  # noqa: E501
    await run(greedy.connection, "CREATE TABLE big (id int, text text)", rows if where == "heap" else values)
    report = await small.reaper.once()
    assert list(report.over_quota) == [greedy.sandbox.id]
    assert "bytes in Postgres" in report.over_quota[greedy.sandbox.id]
    assert (await team.get(modest.sandbox.id)).status == "running"


@pytest.mark.slow
async def test_objects_in_a_database_of_its_own(small: Runtime, team: Team) -> None:
    """They are counted there as in an arena, once the database has grown."""
    apart = small.settings.data_dir / "templates" / "apart"
    apart.mkdir(parents=True)
    (apart / "template.toml").write_text('isolation = "database"')
    (apart / "one.sql").write_text("SELECT 1")
    greedy = await team.create(template="apart")
    assert greedy.connection is not None
    assert (await small.reaper.once()).over_quota == {}
    await run(greedy.connection, TABLES.format(101))
    assert (await small.reaper.once()).over_quota == {
        greedy.sandbox.id: "quota_exceeded: 101 objects in Postgres, 100 are allowed"
    }


async def test_a_file_that_is_too_large(small: Runtime, team: Team) -> None:
    """A SQLite file counts with its journals; who has little is neither ended nor warned."""
    greedy, modest = await team.create(slices=["sqlite"]), await team.create(slices=["sqlite"])
    assert greedy.connection is not None
    with contextlib.closing(sqlite3.connect(greedy.connection["sqlite"]["path"])) as file, file:
        file.execute("CREATE TABLE big (text)")
        file.execute("INSERT INTO big VALUES (zeroblob(21000000))")
    report = await small.reaper.once()
    assert list(report.over_quota) == [greedy.sandbox.id]
    assert "bytes in SQLite" in report.over_quota[greedy.sandbox.id]
    assert "quota_warning" not in await team.actions(modest.sandbox.id)


async def test_a_locked_table_does_not_hide_the_others(small: Runtime, team: Team) -> None:
    """Who holds a table exclusively neither stops the watchdog nor is waited for."""
    locker, greedy = await team.create(), await team.create()
    assert locker.connection is not None
    assert greedy.connection is not None
    await run(
        greedy.connection,
        "CREATE TABLE big (id int, text text)",
        "INSERT INTO big SELECT g, repeat('x', 1000) FROM generate_series(1, 22000) g",
    )
    async with opened(locker.connection) as session:
        await session.sql.execute("CREATE TABLE held (id int)")
        await session.sql.execute("BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
        report = await small.reaper.once()
        assert list(report.over_quota) == [greedy.sandbox.id]
        assert await session.sql.fetchval("SELECT count(*) FROM held") == 0


async def test_too_many_keys(small: Runtime, team: Team) -> None:
    """Counted by the server, also when two sandboxes are asked about."""
    greedy, modest = await team.create(), await team.create()
    for created, count in ((greedy, 301), (modest, 300)):
        assert created.connection is not None
        cache = await open_cache(created.connection)
        prefix = created.connection["valkey"]["prefix"]
        await cache.mset({f"{prefix}{number}": 1 for number in range(count)})
        await cache.aclose()
    assert (await small.reaper.once()).over_quota == {
        greedy.sandbox.id: "quota_exceeded: 301 keys in Valkey, 300 are allowed"
    }
    assert (await team.get(modest.sandbox.id)).status == "running"


@pytest.mark.parametrize("keys", [2, 250])
async def test_too_big_values(small: Runtime, team: Team, keys: int) -> None:
    """In a few keys, and in more than a sample has."""
    greedy, modest = await team.create(), await team.create()
    for created, size in ((greedy, 2_000_000 // keys), (modest, 400_000 // keys)):
        assert created.connection is not None
        cache = await open_cache(created.connection)
        prefix = created.connection["valkey"]["prefix"]
        await cache.mset({f"{prefix}{number}": b"x" * size for number in range(keys)})
        await cache.aclose()
    report = await small.reaper.once()
    assert list(report.over_quota) == [greedy.sandbox.id]
    assert "bytes in Valkey" in report.over_quota[greedy.sandbox.id]


async def test_a_server_that_has_no_slot_statistics(
    small: Runtime, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis 7 knows the count of each slot only: the live sandboxes' slots are asked for it."""
    server = small.backends.valkey.usage._server
    call = server.call

    async def older(*words: Any) -> Any:
        if words[0] == "CLUSTER SLOT-STATS":
            raise ResponseError("unknown subcommand 'SLOT-STATS'")
        return await call(*words)

    greedy = await team.create()
    assert greedy.connection is not None
    cache = await open_cache(greedy.connection)
    await cache.mset({f"{greedy.connection['valkey']['prefix']}{number}": 1 for number in range(301)})
    await cache.aclose()
    monkeypatch.setattr(server, "call", older)
    assert list((await small.reaper.once()).over_quota) == [greedy.sandbox.id]


async def test_slots_of_the_pool_are_left_alone(small: Runtime, team: Team) -> None:
    """A template that is larger than the quota would otherwise be built and ended for ever."""
    created = await team.create()
    assert created.connection is not None
    await run(created.connection, TABLES.format(101))
    await set_row(small, created.sandbox.id, status="pending", slot_ready_at=created.sandbox.created_at)
    assert (await small.reaper.once()).over_quota == {}
    await set_row(small, created.sandbox.id, status="running", slot_ready_at=None)
    assert list((await small.reaper.once()).over_quota) == [created.sandbox.id]


async def test_a_dry_run_ends_nothing(small: Runtime, team: Team) -> None:
    created = await team.create()
    assert created.connection is not None
    await run(created.connection, TABLES.format(101))
    await small.reaper.once(dry_run=True)
    assert (await team.get(created.sandbox.id)).status == "running"


async def test_the_cause_outlives_a_teardown_that_has_to_be_repeated(
    small: Runtime, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went wrong on the way is noted beside it and forgotten at the end."""

    async def away(*_: Any) -> Any:
        raise Unavailable("nats", "nats is on holiday")

    created = await team.create()
    assert created.connection is not None
    await run(created.connection, TABLES.format(101))
    with monkeypatch.context() as patch:
        patch.setattr(small.backends.nats, "drop", away)
        await small.reaper.once()
    cause = "quota_exceeded: 101 objects in Postgres, 100 are allowed"
    assert (await team.get(created.sandbox.id)).last_error == f"{cause} | nats: nats is on holiday"
    await small.reaper.once()
    ended = await team.get(created.sandbox.id)
    assert (ended.status, ended.last_error) == ("destroyed", cause)
