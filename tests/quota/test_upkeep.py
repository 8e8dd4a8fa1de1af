"""Catalogs are vacuumed by a role that is no superuser: an arena's own ones, and the shared ones it was given."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import asyncpg
import pytest
from tests.conftest import Servers
from tests.sandbox.plane import Team, within

from valhalla.runtime import Runtime
from valhalla.sandbox.slices.postgres.catalogs import SHARED, Bloat, vacuum
from valhalla.sandbox.upkeep import Upkeep


@pytest.fixture
async def admin(servers: Servers, small: Runtime) -> AsyncGenerator[Any]:
    """A superuser in the control plane's database, who sees how often each table was vacuumed."""
    connection = await asyncpg.connect(servers.superuser_url, database=small.backends.postgres.pools.control_database)
    yield connection
    await connection.close()


async def churn(small: Runtime, count: int) -> None:
    """Leave dead rows in the arena's catalogs and in the shared ones, and let the server count them."""
    pools = small.backends.postgres.pools
    async with pools.single(small.backends.postgres.arenas.current) as connection:
        await connection.execute(
            f"DO $$ BEGIN FOR i IN 1..{count} LOOP EXECUTE 'CREATE SCHEMA churn; CREATE ROLE churn;"
            " CREATE TABLE churn.t (a int, b text); DROP SCHEMA churn CASCADE; DROP ROLE churn'; END LOOP; END $$"
        )
        await connection.execute("SELECT pg_stat_force_next_flush()")


async def test_an_arenas_catalogs_and_the_shared_ones(small: Runtime, team: Team, admin: Any) -> None:
    """What has many dead rows is vacuumed once and then left alone."""
    upkeep = Upkeep(small.backends.postgres, least=200)
    await churn(small, 300)
    done: set[tuple[str, str]] = set()

    async def vacuumed() -> bool:
        # autovacuum may have been faster with one or the other
        done.update((each.database, each.table) for each in await upkeep.once())
        return {database for database, _ in done} >= {
            small.backends.postgres.arenas.current,
            small.backends.postgres.pools.control_database,
        }

    for _ in range(5):
        if await vacuumed():
            break
        await churn(small, 300)
    assert await vacuumed(), done
    assert upkeep.vacuums >= len(done)
    assert upkeep.seconds > 0
    assert {table for database, table in done if "arena" not in database} <= set(SHARED)
    await within(10, lambda: _nothing(upkeep))


async def _nothing(upkeep: Upkeep) -> bool:
    return await upkeep.once() == []


async def test_the_right_to_do_so_is_narrow(small: Runtime, admin: Any) -> None:
    """MAINTAIN on the shared catalogs that sandboxes fill, in one database, and on nothing else."""
    role = small.backends.postgres.pools.role
    rows = await admin.fetch(
        "SELECT relname FROM pg_class WHERE has_table_privilege($1, oid, 'MAINTAIN')"
        " AND relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'",
        role,
    )
    assert {row["relname"] for row in rows} == set(SHARED)
    assert not await admin.fetchval("SELECT pg_has_role($1, 'pg_maintain', 'MEMBER')", role)
    assert not await admin.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = $1", role)


async def test_a_catalog_is_really_vacuumed(small: Runtime, admin: Any) -> None:
    """The server skips what one may not with a warning only: its own count says that it was done."""
    for table in SHARED:
        count = "SELECT vacuum_count FROM pg_stat_sys_tables WHERE relname = $1"
        before = await admin.fetchval(count, table)
        await vacuum(small.backends.postgres.pools, Bloat(small.backends.postgres.pools.control_database, table, 1, 1))
        assert await admin.fetchval(count, table) == before + 1, table


async def test_without_the_right_the_shared_ones_are_left_to_autovacuum(
    small: Runtime, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An external server whose operator has not granted it."""
    role = small.backends.postgres.pools.role
    tables = ", ".join(SHARED)
    await admin.execute(f'REVOKE MAINTAIN ON {tables} FROM "{role}"')
    try:
        done = await Upkeep(small.backends.postgres, least=0).once()
    finally:
        await admin.execute(f'GRANT MAINTAIN ON {tables} TO "{role}"')
    assert {each.database for each in done} <= {small.backends.postgres.arenas.current}
