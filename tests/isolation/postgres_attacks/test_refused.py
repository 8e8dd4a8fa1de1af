"""The attack table of the Postgres slice: each statement of sandbox A against B, the server or the control plane.

A refusal is a SQLSTATE that the server gives, never a rule of ours in front of it.
"""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from tests.isolation.postgres_attacks.field import DENIED, Field

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
