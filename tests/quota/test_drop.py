"""Schemas with far more objects than one transaction may lock are dropped on a server with few locks.

``DROP SCHEMA … CASCADE`` takes a lock per object, also on what hangs on it; so does every piece of ours.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any

import asyncpg
import psycopg
import pytest
from tests.servers import Postgres, start_postgres

from valhalla.sandbox.slices.postgres.drop import drop_role, drop_schema

# of each kind many; {0} counts up. What they hang on comes first.
KINDS: dict[str, tuple[str, str]] = {
    "tables": ("", "CREATE TABLE t{0} (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)"),
    "views of one table": ("CREATE TABLE t (id int)", "CREATE VIEW v{0} AS SELECT * FROM t"),
    "views of views": ("CREATE VIEW v0 AS SELECT 1 AS id", "CREATE VIEW v{0} AS SELECT * FROM v{1}"),
    "indexes of one table": ("CREATE TABLE t (id int)", "CREATE INDEX i{0} ON t (id)"),
    "partitions": (
        "CREATE TABLE t (id int) PARTITION BY LIST (id)",
        "CREATE TABLE p{0} PARTITION OF t FOR VALUES IN ({0})",
    ),
    "children": ("CREATE TABLE t (id int)", "CREATE TABLE c{0} () INHERITS (t)"),
    "references to one table": (
        "CREATE TABLE t (id int PRIMARY KEY)",
        "CREATE TABLE r{0} (id int REFERENCES t)",
    ),
    "references to a younger table": (
        "",
        "CREATE TABLE r{0} (id int)",
    ),
    "functions": ("", "CREATE FUNCTION f{0}() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    "functions of one type": (
        "CREATE TYPE e AS ENUM ('a')",
        "CREATE FUNCTION f{0}(e) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ),
    "tables of one type": ("CREATE TYPE e AS ENUM ('a')", "CREATE TABLE t{0} (e e)"),
    "types": ("", "CREATE TYPE e{0} AS ENUM ('a')"),
    "domains of domains": ("CREATE DOMAIN d0 AS int", "CREATE DOMAIN d{0} AS d{1}"),
    "sequences": ("", "CREATE SEQUENCE s{0}"),
    "triggers of one table": (
        "CREATE TABLE t (id int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER g{0} BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
    ),
    "policies of one table": ("CREATE TABLE t (id int)", "CREATE POLICY p{0} ON t"),
}  # fmt: skip
AFTERWARDS = {
    "references to a younger table": (
        "CREATE TABLE t (id int PRIMARY KEY)",
        "ALTER TABLE r{0} ADD FOREIGN KEY (id) REFERENCES t",
    ),
}
# the server below has some 1,300 locks
FEW, DEEP, MANY = 2000, 1200, 30_000
QUICK = ("tables", "views of views", "indexes of one table", "functions of one type")


@pytest.fixture(scope="module")
def poor() -> Iterator[Postgres]:
    """A server with few locks, as an operator may have set it."""
    server = start_postgres()
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET max_locks_per_transaction = 10")
        admin.execute("ALTER SYSTEM SET autovacuum = off")
    server.stop()
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def sql(poor: Postgres) -> AsyncGenerator[Any]:
    """The control plane's session in a database of the test's own; the sandbox's role and schema are made."""
    admin = await asyncpg.connect(poor.url)
    await admin.execute("CREATE DATABASE arena")
    await admin.execute("CREATE ROLE sbx LOGIN")
    settings = {"search_path": "pg_catalog"}
    connection = await asyncpg.connect(poor.url, database="arena", command_timeout=100, server_settings=settings)
    await connection.execute("CREATE SCHEMA sbx AUTHORIZATION sbx")
    yield connection
    await connection.close()
    await admin.execute("DROP DATABASE arena WITH (FORCE)")
    await admin.execute("DROP ROLE IF EXISTS sbx")
    await admin.close()


async def fill(sql: Any, first: str, each: str, count: int) -> None:
    """Make many objects as the sandbox does, a few per transaction."""
    await sql.execute(f"SET ROLE sbx; SET search_path = sbx, pg_catalog; {first}")
    for start in range(1, count + 1, 200):
        await sql.execute(";".join(each.format(n, n - 1) for n in range(start, min(start + 200, count + 1))))
    await sql.execute("RESET ROLE; RESET search_path")


async def gone(sql: Any) -> bool:
    await drop_schema(sql, "sbx")
    await drop_role(sql, "sbx")
    return await sql.fetchval("SELECT to_regnamespace('sbx') IS NULL AND to_regrole('sbx') IS NULL")


@pytest.mark.parametrize(
    "kind", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in KINDS]
)
async def test_more_than_there_are_locks(sql: Any, kind: str) -> None:
    """Whatever hangs on whatever."""
    count = DEEP if kind in {"views of views", "domains of domains"} else FEW
    await fill(sql, *KINDS[kind], count)
    if kind in AFTERWARDS:
        await fill(sql, *AFTERWARDS[kind], count)
    assert await gone(sql)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_thirty_thousand_tables(sql: Any) -> None:
    """The number that made a reaper fail on a server with its defaults."""
    await fill(sql, *KINDS["tables"], MANY)
    assert await gone(sql)
