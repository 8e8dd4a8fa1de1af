"""A snapshot carries what it says, runs with the new sandbox's rights alone, and is made whole or not at all."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from tests.conftest import Servers
from tests.sandbox.conftest import Left
from tests.sandbox.plane import ADMINISTRATOR, Team

from valhalla.kernel.problems import Invalid
from valhalla.runtime import Runtime
from valhalla.sandbox.errors import (
    NotRunning,
    SandboxNotFound,
    SliceMissing,
    SnapshotFailed,
    SnapshotNotFound,
    SnapshotTooLarge,
    SnapshotUnsupported,
    TemplateFailed,
    TemplateTaken,
    TemplateUnknown,
)
from valhalla.sandbox.templates import SnapshotInfo

SHOP = '"Shop ""A"""'
EVERYTHING = (Path(__file__).parent / "everything.sql").read_text()


@pytest.fixture(autouse=True)
def tidy(runtime: Runtime) -> Iterator[None]:
    """No snapshot outlives its test."""
    yield
    snapshots = runtime.sandboxes.templates.snapshots
    assert snapshots is not None
    shutil.rmtree(snapshots.directory, ignore_errors=True)


async def made(team: Team, sql: str, **said: Any) -> tuple[str, str]:
    """Make a sandbox with these contents; return its id and its URL."""
    created = await team.create(**said)
    assert created.connection is not None
    url = created.connection["postgres"]["url"]
    await run(url, sql)
    return created.sandbox.id, url


async def run(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def value(url: str, sql: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def take(team: Team, sandbox: str, name: str, **said: Any) -> SnapshotInfo:
    return await team.runtime.snapshots.take(team.principal, sandbox, name, **said)


def contents(team: Team, info: SnapshotInfo) -> dict[str, Any]:
    """Return a snapshot as it is on disk, with its schema's name taken out."""
    snapshots = team.runtime.sandboxes.templates.snapshots
    assert snapshots is not None
    folder = snapshots.directory / info.version
    document = msgspec.json.decode((folder / "contents.json").read_bytes())
    text = msgspec.json.encode(document).decode().replace(document["schema"], "schema")
    rows = {item["table"]: sorted((folder / item["file"]).read_bytes().splitlines()) for item in document["rows"]}
    return msgspec.json.decode(text) | {"rows": rows}


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


TROJANS = """
CREATE TABLE t (x int);
INSERT INTO t VALUES (1);
CREATE FUNCTION evil() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    BEGIN EXECUTE 'ALTER ROLE ' || session_user || ' SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;
    BEGIN EXECUTE 'RESET ROLE; CREATE ROLE owned_by_evil SUPERUSER LOGIN'; EXCEPTION WHEN OTHERS THEN NULL; END;
    RETURN true; END $$;
CREATE FUNCTION count(int) RETURNS bigint LANGUAGE sql AS 'SELECT evil(); SELECT 0::bigint';
CREATE FUNCTION eq(name, text) RETURNS boolean LANGUAGE sql AS 'SELECT evil()';
CREATE TABLE pg_class (oid oid, relname name);
CREATE VIEW pg_namespace AS SELECT evil();
CREATE MATERIALIZED VIEW m AS SELECT evil() AS e, x FROM t;
ALTER TABLE t ADD CHECK (evil()), ADD COLUMN d boolean DEFAULT evil();
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON t USING (evil());
CREATE INDEX i ON t (x) WHERE x > 0;
"""


class TestTrust:
    async def test_what_a_sandbox_wrote_runs_with_its_rights_only(self, team: Team, servers: Servers) -> None:
        """Functions in the way of the questions, in views, checks, defaults and policies gain nothing anywhere."""
        sandbox, _ = await made(team, TROJANS)
        await take(team, sandbox, "trojan")
        created = await team.create(template="trojan")
        admin = await asyncpg.connect(servers.superuser_url)
        for role in (f"sbx_{sandbox}", created.sandbox.names.role, "owned_by_evil"):
            assert not await admin.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = $1", role)
        await admin.close()

    async def test_a_statement_in_a_name_is_a_name(self, team: Team) -> None:
        name = 'x"; DROP TABLE t; --'
        quoted = '"' + name.replace('"', '""') + '"'
        sql = f"CREATE TABLE t (x int); CREATE TABLE {quoted} ({quoted} int); INSERT INTO {quoted} VALUES (1)"
        sandbox, _ = await made(team, sql)
        info = await take(team, sandbox, "quoted")
        again = await take(team, (await team.new(template="quoted")).id, "quoted-2")
        assert contents(team, info) == contents(team, again)
        assert info.tables == 2

    async def test_what_is_on_disk_is_private(self, team: Team, runtime: Runtime) -> None:
        info = await take(team, (await made(team, "CREATE TABLE t (x int); INSERT INTO t VALUES (1)"))[0], "private")
        snapshots = runtime.sandboxes.templates.snapshots
        assert snapshots is not None
        folder = snapshots.directory / info.version
        assert [oct(path.stat().st_mode)[-3:] for path in (snapshots.directory, folder)] == ["700", "700"]
        assert oct((folder / "0.copy").stat().st_mode)[-3:] == "600"

    async def test_a_restore_that_fails_leaves_nothing(self, team: Team, runtime: Runtime, left: Left) -> None:
        """A check that is no longer true, as a function that looks at the clock may be."""
        sql = """CREATE FUNCTION ok() RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT current_schema() = '%s' $$;
            CREATE TABLE t (x int CHECK (ok())); INSERT INTO t VALUES (1)"""
        created = await team.create()
        assert created.connection is not None
        # half of the name: the whole would be replaced
        half = created.sandbox.names.schema[:10]
        await run(created.connection["postgres"]["url"], sql.replace("= '%s'", f"LIKE '{half}%'"))
        await take(team, created.sandbox.id, "fails")
        with pytest.raises(TemplateFailed):
            await team.create(template="fails")
        failed = next(item for item in await team.all() if item.template == "fails")
        assert await left(failed.id) == []


class TestRefusals:
    @pytest.mark.parametrize(
        ("sql", "what"),
        [
            ("CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int)", "aggregate total(integer)"),
            ("CREATE OPERATOR === (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int)", "operator ===(integer,integer)"),
            ("CREATE TABLE a (x int); CREATE TABLE b () INHERITS (a)", "inheritance of table b"),
            ("CREATE TYPE c AS (x int); CREATE TABLE a OF c", "typed table a"),
            ("CREATE COLLATION mine FROM \"C\"", "collation mine"),
            ("CREATE TEXT SEARCH CONFIGURATION mine (COPY = simple)", "text search configuration mine"),
            ("CREATE TYPE c AS (x int); CREATE CAST (c AS text) WITH INOUT", "cast of c"),
        ],
    )  # fmt: skip
    async def test_what_cannot_be_carried_is_named(self, team: Team, sql: str, what: str) -> None:
        sandbox, _ = await made(team, sql)
        with pytest.raises(SnapshotUnsupported) as refusal:
            await take(team, sandbox, "nope")
        assert what in refusal.value.extra["objects"]
        with pytest.raises(TemplateUnknown):
            await team.create(template="nope")

    async def test_too_much(self, team: Team, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
        """In all rows, in one row that is small on disk, in one definition; nothing is left of the attempt."""
        many = "INSERT INTO t SELECT repeat('x', 20000) FROM generate_series(1, 60)"
        sandbox, url = await made(team, f"CREATE TABLE t (x text); {many}")
        monkeypatch.setattr(runtime.snapshots, "_most", 1_000_000)
        with pytest.raises(SnapshotTooLarge, match="more than the snapshot may hold"):
            await take(team, sandbox, "large")
        await run(url, "TRUNCATE t; INSERT INTO t VALUES (repeat('x', 17000000))")
        with pytest.raises(SnapshotTooLarge, match="a row of table t"):
            await take(team, sandbox, "large")
        monkeypatch.setattr("valhalla.sandbox.snapshots.definitions.MOST_TEXT", 10_000)
        await run(url, f"TRUNCATE t; CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT $x${'y' * 20000}$x$'")
        with pytest.raises(SnapshotTooLarge, match="definitions"):
            await take(team, sandbox, "large")
        snapshots = runtime.sandboxes.templates.snapshots
        assert snapshots is not None
        assert list(snapshots.directory.iterdir()) == []

    async def test_names(self, team: Team, stranger: Team) -> None:
        """Neither a built-in template nor an operator's, nor another's snapshot; one's own only on purpose."""
        sandbox, other = await team.new(), await stranger.new()
        for name in ("community", "empty"):
            with pytest.raises(TemplateTaken):
                await take(team, sandbox.id, name, replace=True)
        for name in ("../x", "A", "", "x" * 64, "x.json"):
            with pytest.raises(Invalid):
                await take(team, sandbox.id, name)
        first = await take(team, sandbox.id, "mine")
        with pytest.raises(TemplateTaken):
            await take(team, sandbox.id, "mine")
        with pytest.raises(TemplateTaken):
            await take(stranger, other.id, "mine", replace=True)
        second = await take(team, sandbox.id, "mine", replace=True)
        assert second.version != first.version
        admin = Team(team.runtime, ADMINISTRATOR)
        assert (await take(admin, sandbox.id, "mine", replace=True)).owner == team.owner

    async def test_whose_sandbox(self, team: Team, stranger: Team) -> None:
        sandbox = await team.new()
        with pytest.raises(SandboxNotFound):
            await take(stranger, sandbox.id, "stolen")
        light = await team.new(slices=["valkey"])
        with pytest.raises(SliceMissing):
            await take(team, light.id, "light")
        await team.destroy(sandbox.id)
        with pytest.raises(NotRunning):
            await take(team, sandbox.id, "late")

    async def test_remove(self, team: Team, stranger: Team) -> None:
        sandbox = await team.new()
        await take(team, sandbox.id, "gone")
        remove = team.runtime.snapshots.remove
        for principal, name in ((stranger.principal, "gone"), (team.principal, "community"), (team.principal, "../x")):
            with pytest.raises(SnapshotNotFound):
                await remove(principal, name)
        await remove(team.principal, "gone")
        with pytest.raises(TemplateUnknown):
            await team.create(template="gone")

    async def test_a_locked_table_and_a_changed_password(self, team: Team) -> None:
        """The sandbox can keep itself from being copied, and says so."""
        sandbox, url = await made(team, "CREATE TABLE t (x int)")
        role = f"sbx_{sandbox}"
        await run(url, f"ALTER ROLE {role} PASSWORD 'other'")
        with pytest.raises(SnapshotFailed):
            await take(team, sandbox, "locked")


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
