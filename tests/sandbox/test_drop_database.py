"""Dropping a database while autovacuum works in it: a role that is no superuser may not end that worker."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from tests.conftest import Servers

from valhalla.sandbox.slices.postgres.drop import drop_database

# slow on purpose: one page every 100 ms, so that the worker is in there when the database goes
FILL = """
CREATE TABLE t (x int, y text) WITH (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1,
                                     autovacuum_vacuum_threshold = 1);
INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(1, 50000) i;
DELETE FROM t;
"""


@pytest.mark.slow
@pytest.mark.parametrize("session", [False, True], ids=["alone", "and-a-session"])
async def test_autovacuum_in_it_is_sent_away(servers: Servers, session: bool) -> None:
    superuser = await asyncpg.connect(servers.superuser_url)
    # a control plane that was started here before lets nobody into this database
    await superuser.execute(
        "CREATE ROLE vh_dropper LOGIN CREATEDB CREATEROLE PASSWORD 'x';"
        "GRANT CONNECT ON DATABASE postgres, template1 TO vh_dropper"
    )
    control = await asyncpg.connect(servers.superuser_url, user="vh_dropper", password="x")
    await control.execute("CREATE DATABASE vh_vacuumed")
    inside = await asyncpg.connect(servers.superuser_url, user="vh_dropper", password="x", database="vh_vacuumed")
    try:
        await inside.execute(FILL)
        if not session:
            await inside.close()
        worker = "SELECT pid FROM pg_stat_activity WHERE datname = 'vh_vacuumed' AND backend_type = 'autovacuum worker'"
        async with asyncio.timeout(60):
            while not await superuser.fetch(worker):
                await asyncio.sleep(0.1)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="terminate process"):
            await control.execute("DROP DATABASE vh_vacuumed WITH (FORCE)")
        await drop_database(control, "vh_vacuumed")
        assert not await superuser.fetch("SELECT FROM pg_database WHERE datname = 'vh_vacuumed'")
    finally:
        inside.terminate()
        await control.close()
        await superuser.execute("DROP DATABASE IF EXISTS vh_vacuumed WITH (FORCE)")
        await superuser.execute("DROP OWNED BY vh_dropper; DROP ROLE vh_dropper")
        await superuser.close()
