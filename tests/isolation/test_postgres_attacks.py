"""The attack table of the Postgres slice: each attempt of sandbox A against B, the server or the control plane.

A refusal is a SQLSTATE that the server gives, never a rule of ours in front of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from valhalla.kernel.ids import new_id
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.postgres import Bootstrap, PostgresSlice, bootstrap
from valhalla.sandbox.slices.postgres.bootstrap import template_name
from valhalla.sandbox.templates import BuiltIn, Templates

DENIED = "42501"  # insufficient_privilege


@dataclass
class Field:
    """Two sandboxes and everything needed to attack one from the other."""

    postgres: PostgresSlice
    a: Names
    b: Names
    superuser: str
    cell: str

    async def as_a(self) -> asyncpg.Connection[asyncpg.Record]:
        return await self.postgres.login(self.a)

    def fill(self, text: str) -> str:
        values = {
            "a": self.a.schema,
            "b": self.b.schema,
            "arole": self.a.role,
            "brole": self.b.role,
            "group": self.a.database,
        }
        return text.format(**values)


@pytest.fixture(scope="module")
async def field(closed: str) -> AsyncGenerator[Field]:
    """A cluster of its own cell with two sandboxes; B holds one community."""
    superuser = closed
    cell = CellKey.parse("A" * 43)
    plan = Bootstrap("valhalla_attacks", "secret", "valhalla_attacks", cell.cell)
    await bootstrap(superuser, plan, exclusive=True)
    await bootstrap(superuser, plan, exclusive=True)
    base = superuser.rpartition("@")[2].partition("/")[0]
    postgres = PostgresSlice(f"postgresql://valhalla_attacks:secret@{base}/valhalla_attacks", cell)
    assert await postgres.prepare() == []
    template = Templates().get("community")
    assert isinstance(template, BuiltIn)
    end = datetime.now(UTC) + timedelta(hours=1)
    both = [Names.for_sandbox(new_id(), cell=cell.cell, database=postgres.arenas.current) for _ in range(2)]
    for names in both:
        await postgres.provision(names, expires_at=end, seed=template.sql)
    victim = await postgres.login(both[1])
    await victim.execute("INSERT INTO communities (name) VALUES ('secret of B')")
    await victim.execute("CREATE SEQUENCE counter; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    await victim.close()
    yield Field(postgres, both[0], both[1], superuser, cell.cell)
    for names in both:
        await postgres.cut(names)
        await postgres.drop(names)
    await postgres.close()


REFUSED = [
    # 1 other schema: data, code, keys, sequences
    ("read", "SELECT * FROM {b}.communities", DENIED),
    ("write", "INSERT INTO {b}.communities (name) VALUES ('x')", DENIED),
    ("update", "UPDATE {b}.communities SET name = 'x'", DENIED),
    ("truncate", "TRUNCATE {b}.communities CASCADE", DENIED),
    ("drop table", "DROP TABLE {b}.badges", DENIED),
    ("drop schema", "DROP SCHEMA {b} CASCADE", DENIED),
    ("call", "SELECT {b}.f()", DENIED),
    ("foreign key", "CREATE TABLE spy (id uuid REFERENCES {b}.communities (id))", DENIED),
    ("nextval", "SELECT nextval('{b}.counter')", DENIED),
    ("create in it", "CREATE TABLE {b}.mine (id int)", DENIED),
    ("lock", "BEGIN; LOCK TABLE {b}.communities", DENIED),
    ("inherit", "CREATE TABLE spy () INHERITS ({b}.communities)", DENIED),
    ("copy", "COPY {b}.communities TO STDOUT", DENIED),
    ("comment", "COMMENT ON TABLE {b}.communities IS 'x'", DENIED),
    # 2 other roles and own attributes
    ("set role", "SET ROLE {brole}", DENIED),
    ("set role control", "SET ROLE valhalla_attacks", DENIED),
    ("set role group", "SET ROLE {group}", DENIED),
    ("session authorization", "SET SESSION AUTHORIZATION {brole}", DENIED),
    ("alter other's password", "ALTER ROLE {brole} PASSWORD 'x'", DENIED),
    ("self superuser", "ALTER ROLE {arole} SUPERUSER", DENIED),
    ("self createrole", "ALTER ROLE {arole} CREATEROLE", DENIED),
    ("self createdb", "ALTER ROLE {arole} CREATEDB", DENIED),
    ("self replication", "ALTER ROLE {arole} REPLICATION", DENIED),
    ("self bypassrls", "ALTER ROLE {arole} BYPASSRLS", DENIED),
    ("self valid until", "ALTER ROLE {arole} VALID UNTIL 'infinity'", DENIED),
    ("self connection limit", "ALTER ROLE {arole} CONNECTION LIMIT 1000", DENIED),
    ("rename self", "ALTER ROLE {arole} RENAME TO other", {DENIED, "0A000"}),
    ("create role", "CREATE ROLE friend LOGIN", DENIED),
    ("grant self", "GRANT {arole} TO {brole}", DENIED),
    ("grant control", "GRANT valhalla_attacks TO {arole}", DENIED),
    ("join read all", "GRANT pg_read_all_data TO {arole}", DENIED),
    # 5 to 7 metadata that the hardened catalogs close
    ("table statistics", "SELECT * FROM pg_stat_all_tables", DENIED),
    ("user table statistics", "SELECT * FROM pg_stat_user_tables", DENIED),
    ("size of another", "SELECT pg_total_relation_size('{b}.communities'::regclass)", DENIED),
    ("size of the database", "SELECT pg_database_size(current_database())", DENIED),
    ("roles", "SELECT rolname FROM pg_roles", DENIED),
    ("users", "SELECT usename FROM pg_user", DENIED),
    ("password hashes", "SELECT rolpassword FROM pg_authid", DENIED),
    ("databases", "SELECT datname FROM pg_database", DENIED),
    ("role settings", "SELECT * FROM pg_db_role_setting", DENIED),
    ("activity", "SELECT * FROM pg_stat_activity", DENIED),
    ("activity function", "SELECT * FROM pg_stat_get_activity(NULL)", DENIED),
    ("locks", "SELECT * FROM pg_locks", DENIED),
    ("lock function", "SELECT * FROM pg_lock_status()", DENIED),
    ("view texts", "SELECT definition FROM pg_views", DENIED),
    # 9 and 10 shared resources
    ("advisory lock", "SELECT pg_advisory_lock(1)", DENIED),
    ("advisory try", "SELECT pg_try_advisory_xact_lock(1)", DENIED),
    ("temporary table", "CREATE TEMP TABLE t (id int)", DENIED),
    ("large object", "SELECT lo_create(0)", DENIED),
    ("large object bytes", "SELECT lo_from_bytea(0, 'x')", DENIED),
    ("wal flood", "SELECT pg_logical_emit_message(false, 'x', 'y')", DENIED),
    # 11 outside the schema
    ("create in public", "CREATE TABLE public.t (id int)", DENIED),
    ("create schema", "CREATE SCHEMA other", DENIED),
    ("extension", "CREATE EXTENSION IF NOT EXISTS hstore", {DENIED, "0A000", "58P01", "42601"}),
    ("publication", "CREATE PUBLICATION p", DENIED),
    (
        "event trigger",
        """CREATE FUNCTION t() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
        CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION t()""",
        DENIED,
    ),
    ("tablespace", "CREATE TABLESPACE s LOCATION '/tmp'", DENIED),
    ("database", "CREATE DATABASE mine", DENIED),
    ("copy program", "COPY (SELECT 1) TO PROGRAM 'id'", DENIED),
    ("copy to file", "COPY (SELECT 1) TO '/tmp/x'", DENIED),
    ("copy from file", "CREATE TABLE leak (line text); COPY leak FROM '/etc/passwd'", DENIED),
    ("read file", "SELECT pg_read_file('/etc/passwd')", DENIED),
    ("list files", "SELECT pg_ls_dir('.')", DENIED),
    ("alter system", "ALTER SYSTEM SET log_statement = 'all'", DENIED),
    ("reload", "SELECT pg_reload_conf()", DENIED),
    ("untrusted language", "CREATE FUNCTION c() RETURNS int LANGUAGE c AS 'libc', 'getpid'", DENIED),
    ("server", "CREATE SERVER s FOREIGN DATA WRAPPER nothing", {"42704", DENIED}),
    ("subscription", "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p", {DENIED, "42601"}),
    # 12 the one limit that binds
    ("temp file limit", "SET temp_file_limit = '-1'", DENIED),
    ("superuser parameter", "SET session_replication_role = replica", DENIED),
    # 21 ownership laundering
    ("own by group", "CREATE TABLE w (id int); ALTER TABLE w OWNER TO {group}", DENIED),
    ("own by control", "CREATE TABLE w (id int); ALTER TABLE w OWNER TO valhalla_attacks", DENIED),
    ("own schema by group", "ALTER SCHEMA {a} OWNER TO {group}", DENIED),
    # 22 the server's own tables
    ("lock pg_class", "BEGIN; LOCK TABLE pg_class", DENIED),
    ("write pg_class", "DELETE FROM pg_class", DENIED),
    ("control tables", "SELECT * FROM valhalla.sandboxes", {"42P01", "3F000"}),
]


@pytest.mark.parametrize(("attack", "statement", "expected"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_server_refuses(field: Field, attack: str, statement: str, expected: str | set[str]) -> None:
    """The server itself answers each attempt with a refusal, and nothing of B changes."""
    connection = await field.as_a()
    try:
        with pytest.raises(asyncpg.PostgresError) as refusal:
            await connection.execute(field.fill(statement))
    finally:
        await connection.close()
    assert refusal.value.sqlstate in ({expected} if isinstance(expected, str) else expected), str(refusal.value)
    victim = await field.postgres.login(field.b)
    rows = await victim.fetch("SELECT name FROM communities")
    await victim.close()
    assert [row["name"] for row in rows] == ["secret of B"]


@pytest.mark.parametrize("database", ["postgres", "template1", "valhalla_attacks", "template"])
async def test_no_other_database_can_be_entered(field: Field, database: str) -> None:
    """A sandbox connects to its arena only (attack 15)."""
    name = template_name(field.cell) if database == "template" else database
    address = field.postgres.connection(field.a, expires_at=datetime.now(UTC))
    with pytest.raises(asyncpg.PostgresError) as refusal:
        await asyncpg.connect(
            host=address["host"],
            port=address["port"],
            user=address["user"],
            password=address["password"],
            database=name,
            timeout=5,
        )
    assert refusal.value.sqlstate in {DENIED, "55000"}


async def test_replication_connection_is_refused(field: Field) -> None:
    """A sandbox cannot stream the log (attack 11)."""
    import psycopg

    address = field.postgres.connection(field.a, expires_at=datetime.now(UTC))

    def connect() -> None:
        psycopg.connect(address["url"] + "?replication=database").close()

    with pytest.raises(psycopg.OperationalError):
        await asyncio.to_thread(connect)


async def test_connections_are_limited(field: Field) -> None:
    """The sixth connection is refused (attack 14)."""
    held = [await field.as_a() for _ in range(5)]
    try:
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await field.as_a()
    finally:
        for connection in held:
            await connection.close()


async def test_temp_file_limit_survives_reset_all(field: Field) -> None:
    """A sandbox that resets its own settings keeps the limit (attack 12)."""
    connection = await field.as_a()
    await connection.execute(f"ALTER ROLE {field.a.role} RESET ALL")
    await connection.close()
    connection = await field.as_a()
    limit = await connection.fetchval("SHOW temp_file_limit")
    await connection.execute(f"ALTER ROLE {field.a.role} SET search_path = {field.a.schema}")
    await connection.close()
    assert limit == "1GB"


async def test_search_path_reset_gains_nothing(field: Field) -> None:
    """Without its search path a sandbox sees less, not more (attack 13)."""
    connection = await field.as_a()
    try:
        await connection.execute("SET search_path = public, pg_catalog")
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.fetch("SELECT * FROM communities")
    finally:
        await connection.close()


async def test_wrong_password_is_refused(field: Field) -> None:
    """Authentication is by SCRAM, not by trust."""
    address = field.postgres.connection(field.a, expires_at=datetime.now(UTC))
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            host=address["host"],
            port=address["port"],
            user=address["user"],
            password="wrong",
            database=address["database"],
            timeout=5,
        )


async def _fresh(field: Field) -> Names:
    names = Names.for_sandbox(new_id(), cell=field.cell, database=field.a.database)
    await field.postgres.provision(names, expires_at=datetime.now(UTC) + timedelta(hours=1), seed="")
    return names


async def _fresh_gone(field: Field, names: Names) -> None:
    left = [item for item in await field.postgres.found() if item.sandbox_id == names.id]
    assert left == []


async def test_cut_ends_live_sessions_and_logins(field: Field) -> None:
    """After the cut neither an open connection nor a new login works (attack 19)."""
    names = await _fresh(field)
    connection = await field.postgres.login(names)
    await field.postgres.cut(names)
    await asyncio.sleep(0.1)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)):
        await connection.fetchval("SELECT 1")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await field.postgres.login(names)
    await field.postgres.drop(names)
    await _fresh_gone(field, names)


async def test_expired_role_cannot_log_in(field: Field) -> None:
    """VALID UNTIL refuses a login after the TTL even when no control plane lives."""
    names = await _fresh(field)
    await field.postgres.extend(names, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(asyncpg.InvalidPasswordError):
        await field.postgres.login(names)
    await field.postgres.cut(names)
    await field.postgres.drop(names)


async def test_held_lock_does_not_stop_the_teardown(field: Field) -> None:
    """An open transaction with a lock is ended before the drop (attack 18)."""
    names = await _fresh(field)
    connection = await field.postgres.login(names)
    await connection.execute("CREATE TABLE t (id int)")
    await connection.execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
    await field.postgres.cut(names)
    await field.postgres.drop(names)
    await _fresh_gone(field, names)


async def test_odd_objects_are_dropped(field: Field) -> None:
    """Every kind of object that a sandbox can make goes, whatever its name."""
    names = await _fresh(field)
    connection = await field.postgres.login(names)
    await connection.execute(
        """
        CREATE TABLE "Quote""d; DROP TABLE x" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, s serial);
        CREATE VIEW v AS SELECT 1 AS one;
        CREATE MATERIALIZED VIEW m AS SELECT 1 AS one;
        CREATE TYPE e AS ENUM ('a');
        CREATE TYPE c AS (x int);
        CREATE DOMAIN d AS int CHECK (value > 0);
        CREATE TYPE r AS RANGE (SUBTYPE = numeric);
        CREATE SEQUENCE q;
        CREATE FUNCTION f(int, text) RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1';
        CREATE AGGREGATE g (int) (sfunc = int4pl, stype = int);
        CREATE OPERATOR === (leftarg = int, rightarg = int, function = int4eq);
        CREATE TABLE parts (id int) PARTITION BY RANGE (id);
        CREATE TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
        CREATE TABLE uses_type (x e, y c, z d);
        CREATE STATISTICS st (dependencies) ON id, s FROM "Quote""d; DROP TABLE x";
        CREATE COLLATION k (locale = 'C');
        CREATE TEXT SEARCH DICTIONARY ts (template = simple);
        ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
        """
    )
    await connection.close()
    await field.postgres.cut(names)
    await field.postgres.drop(names)
    await _fresh_gone(field, names)


@pytest.mark.slow
async def test_thirty_thousand_tables_are_dropped(field: Field) -> None:
    """A schema with more objects than the lock table holds is dropped in pieces (attack 16)."""
    names = await _fresh(field)
    connection = await field.postgres.login(names)
    for start in range(0, 30_000, 1000):
        await connection.execute("".join(f"CREATE TABLE t{i} (id int);" for i in range(start, start + 1000)))
    await connection.close()
    await field.postgres.cut(names)
    await field.postgres.drop(names)
    await _fresh_gone(field, names)


async def test_trojan_policy_runs_as_the_sandbox(field: Field) -> None:
    """Counting rows runs what the sandbox wrote with the sandbox's rights, never the control plane's (attack 17)."""
    names = await _fresh(field)
    connection = await field.postgres.login(names)
    await connection.execute(
        f"""
        CREATE TABLE bait (id int);
        INSERT INTO bait VALUES (1);
        CREATE TABLE loot (who text);
        CREATE FUNCTION trap() RETURNS boolean LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO loot VALUES (current_user); RETURN true; END $$;
        ALTER TABLE bait ENABLE ROW LEVEL SECURITY;
        ALTER TABLE bait FORCE ROW LEVEL SECURITY;
        CREATE POLICY p ON bait USING (trap());
        GRANT USAGE ON SCHEMA {names.schema} TO PUBLIC;
        GRANT ALL ON ALL TABLES IN SCHEMA {names.schema} TO PUBLIC;
        """
    )
    stats: list[Any] = await field.postgres.stats(names)
    assert {item.table: item.rows for item in stats}["bait"] == 1
    who = {row["who"] for row in await connection.fetch("SELECT who FROM loot")}
    assert who == {names.role}
    await connection.close()
    await field.postgres.cut(names)
    await field.postgres.drop(names)


async def test_what_the_schema_level_does_not_enforce_is_as_stated(field: Field) -> None:
    """Names in shared catalogs are visible and NOTIFY is shared: the docs say so, and this notices a change."""
    connection = await field.as_a()
    seen = await connection.fetchval(
        "SELECT count(*) FROM pg_class WHERE relnamespace = $1::regnamespace", field.b.schema
    )
    heard: list[str] = []
    await connection.add_listener("channel", lambda *args: heard.append(args[3]))
    victim = await field.postgres.login(field.b)
    await victim.execute("NOTIFY channel, 'x'")
    await asyncio.sleep(0.1)
    await victim.close()
    await connection.close()
    assert seen > 0
    assert heard == ["x"]
