"""A sandbox cannot resist its end, nor make the control plane do anything for it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.isolation.postgres_attacks.field import Field

from valhalla.kernel.ids import new_id
from valhalla.sandbox.slices.contracts import Names


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
