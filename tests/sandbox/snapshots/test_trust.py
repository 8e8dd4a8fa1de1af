"""A snapshot runs with the new sandbox's rights alone."""

from __future__ import annotations

import asyncpg
import pytest
from tests.conftest import Servers
from tests.sandbox.conftest import Left
from tests.sandbox.plane import Team
from tests.sandbox.snapshots.taking import contents, made, run, take

from valhalla.runtime import Runtime
from valhalla.sandbox.errors import TemplateFailed

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
