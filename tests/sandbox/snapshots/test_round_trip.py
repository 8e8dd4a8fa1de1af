"""A snapshot carries what it says, and is made whole or not at all."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import asyncpg
import pytest
from tests.sandbox.plane import Team
from tests.sandbox.snapshots.taking import contents, made, run, take, value

from valhalla.runtime import Runtime

SHOP = '"Shop ""A"""'


EVERYTHING = (Path(__file__).parent / "everything.sql").read_text()


class TestRoundTrip:
    @pytest.mark.parametrize("level", ["schema", "database"])
    async def test_everything(self, team: Team, folder: Path, level: str) -> None:
        """What the second sandbox holds is told by the same words as what the first holds."""
        template = folder / "templates" / f"at-{level}"
        template.mkdir()
        (template / "template.toml").write_text(f'isolation = "{level}"')
        try:
            first, _ = await made(team, EVERYTHING, template=template.name)
        finally:
            shutil.rmtree(template)
        info = await take(team, first, "shop")
        assert (info.isolation, info.owner, info.sandbox) == (level, team.owner, first)
        assert info.rows == 9
        await team.destroy(first)
        created = await team.create(template="shop")
        assert created.sandbox.names.isolation == level
        again = await take(team, created.sandbox.id, "again")
        assert contents(team, again) == contents(team, info)
        assert created.connection is not None
        await self._work(created.connection["postgres"]["url"], created.sandbox.names.schema)

    async def _work(self, url: str, schema: str) -> None:
        """The copy is alive: numbers go on, rules hold, functions and triggers run."""
        connection = await asyncpg.connect(url)
        number = await connection.fetchrow(
            f"INSERT INTO {SHOP} (price) VALUES (1) RETURNING id, ref, old, ticket, twice, amount"
        )
        assert number is not None
        assert tuple(number) == (9, 3, 3, 120, 6, 1)
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(f"INSERT INTO {SHOP} (price) VALUES (1000)")
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await connection.execute("INSERT INTO item VALUES (1, 'x')")
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.fetchval("SELECT 3::even")
        await connection.execute("UPDATE item SET name = 'new' WHERE name = 'é'")
        assert await connection.fetchval("SELECT count(*) FROM log_2025_sad") == 2
        assert await connection.fetchval("SELECT n FROM counts WHERE shop = 7") == 2
        assert await connection.fetchval("SELECT count(*) FROM named()") == 2
        assert await connection.fetchval("SELECT count(*) FROM cheapest(5)") == 1
        owners = await connection.fetch(
            "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = $1::text::regnamespace", schema
        )
        assert [row[0] for row in owners] == [schema]
        await connection.close()

    async def test_reset_returns_to_the_snapshot(self, team: Team) -> None:
        first, _ = await made(team, "CREATE TABLE t (x int); INSERT INTO t VALUES (1)")
        await take(team, first, "one")
        created = await team.create(template="one")
        assert created.connection is not None
        url = created.connection["postgres"]["url"]
        await run(url, "DELETE FROM t; CREATE TABLE more ()")
        await team.runtime.sandboxes.reset(team.principal, created.sandbox.id)
        assert await value(url, "SELECT x FROM t") == 1
        assert await value(url, "SELECT to_regclass('more')") is None

    async def test_a_schema_that_is_named_in_a_body(self, team: Team) -> None:
        """A function that writes its schema's name finds the new one, not the sandbox that was copied."""
        sandbox, url = await made(team, "CREATE TABLE t (x int); INSERT INTO t VALUES (1)")
        await run(url, f"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT x FROM sbx_{sandbox}.t'")
        await take(team, sandbox, "named")
        created = await team.create(template="named")
        assert created.connection is not None
        assert await value(created.connection["postgres"]["url"], "SELECT f()") == 1

    async def test_an_empty_sandbox(self, team: Team) -> None:
        info = await take(team, (await team.new()).id, "void")
        assert (info.tables, info.rows, info.size) == (0, 0, 0)
        await team.new(template="void")

    async def test_others_may_start_from_it(self, team: Team, stranger: Team) -> None:
        sandbox, _ = await made(team, "CREATE TABLE t (x int); INSERT INTO t VALUES (1)")
        await take(team, sandbox, "shared")
        await stranger.new(template="shared")
        await team.destroy(sandbox)
        await stranger.new(template="shared")

    async def test_the_ledger_tells(self, team: Team) -> None:
        sandbox = await team.new()
        await take(team, sandbox.id, "told")
        assert (await team.actions(sandbox.id))[-1] == "snapshot_taken"


class TestOnDisk:
    async def test_two_at_once_are_two_whole_ones(self, team: Team) -> None:
        sandbox, _ = await made(team, "CREATE TABLE t (x int); INSERT INTO t SELECT generate_series(1, 1000)")
        done = await asyncio.gather(*(take(team, sandbox, "raced") for _ in range(4)), return_exceptions=True)
        assert sorted(type(item).__name__ for item in done) == ["SnapshotInfo", *["TemplateTaken"] * 3]
        created = await team.create(template="raced")
        assert created.connection is not None
        assert await value(created.connection["postgres"]["url"], "SELECT count(*) FROM t") == 1000

    async def test_what_a_crash_leaves_is_swept_and_nothing_else(self, team: Team, runtime: Runtime) -> None:
        import os

        info = await take(team, (await team.new()).id, "kept")
        snapshots = runtime.sandboxes.templates.snapshots
        assert snapshots is not None
        lost, fresh, theirs = (snapshots.directory / name for name in ("0" * 16, "1" * 16, "something"))
        for path in (lost, fresh, theirs):
            path.mkdir()
        for path in (lost, theirs, snapshots.directory / info.version):
            os.utime(path, (1, 1))
        snapshots.sweep()
        names = {path.name for path in snapshots.directory.iterdir()}
        assert names == {"kept.json", info.version, fresh.name, theirs.name}
