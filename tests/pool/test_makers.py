"""No role administers more than a hundred others, whatever was made, and what was made otherwise still works."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from tests.conftest import Servers
from tests.sandbox.plane import MovableClock, Team, compose, developer, fresh_owner

from valhalla.kit.cellkey import CellKey
from valhalla.kit.sql import identifier
from valhalla.runtime import Runtime
from valhalla.sandbox.slices.postgres import makers

_ADMINISTERED = (
    "SELECT m.rolname, count(*) FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles r"
    " ON r.oid = a.roleid WHERE r.rolname LIKE 'sbx\\_%' AND m.rolname LIKE $1 AND a.admin_option GROUP BY 1"
)


@pytest.fixture(scope="module")
async def few(servers: Servers) -> AsyncGenerator[Runtime]:
    """A control plane whose makers make two roles each."""
    folder = Path(tempfile.mkdtemp(prefix="vh-makers-"))
    patch = pytest.MonkeyPatch()
    patch.setattr(makers, "MOST", 2)
    runtime = await compose(servers, CellKey.parse("k" * 43), folder, clock=MovableClock(), name="valhalla_makers")
    await runtime.start(lambda _key: None)
    yield runtime
    await runtime.stop()
    patch.undo()
    shutil.rmtree(folder)


async def test_a_maker_is_followed_by_the_next_and_has_room_again(few: Runtime, servers: Servers) -> None:
    """The control plane itself is a member of nobody's role: neither while sandboxes live nor after."""
    team = Team(few, developer(fresh_owner()))
    sandboxes = [await team.new() for _ in range(5)]
    admin = await asyncpg.connect(servers.superuser_url)
    arena = sandboxes[0].names.database
    counts = dict(await admin.fetch(_ADMINISTERED, f"{arena}\\_m%"))
    assert sorted(counts.values()) == [1, 2, 2]
    assert not await admin.fetch(_ADMINISTERED, few.backends.postgres.pools.role)
    for sandbox in sandboxes:
        await team.destroy(sandbox.id)
    await few.reaper.once()
    await team.new()
    assert sum(dict(await admin.fetch(_ADMINISTERED, f"{arena}\\_m%")).values()) == 1
    assert await admin.fetchval("SELECT count(*) FROM pg_roles WHERE starts_with(rolname, $1)", f"{arena}_m") == 3
    await admin.close()


async def test_nobody_else_can_act_as_a_maker(few: Runtime) -> None:
    """A sandbox sees that the functions exist and can call none of them."""
    team = Team(few, developer(fresh_owner()))
    mine, other = await team.new(), await team.new()
    session = await asyncpg.connect((await team.connection(mine.id))["postgres"]["url"])
    maker = f"{mine.names.database}_m1"
    for call in (
        f"SELECT vh_makers.{identifier(maker)}('ALTER ROLE {other.names.role} NOLOGIN')",
        f"SELECT vh_makers.act('{other.names.role}', 'SELECT 1')",
        f"SELECT vh_makers.silence('{other.names.role}')",
        f"SET ROLE {identifier(maker)}",
        f"GRANT {mine.names.role} TO {other.names.role}",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await session.execute(call)
    await session.close()


async def test_a_role_that_the_control_plane_made_itself_lives_on(few: Runtime) -> None:
    """As every role did before there were makers: cut, extended, emptied, dropped."""
    postgres = few.backends.postgres
    team = Team(few, developer(fresh_owner()))
    sandbox = await team.new()
    names = sandbox.names
    await postgres.cut(names)
    await postgres.drop(names)
    script = (
        f"CREATE ROLE {identifier(names.role)} LOGIN; GRANT {identifier(names.database)} TO {identifier(names.role)};"
    )
    async with postgres.pools.connection(names.database) as connection:
        await connection.execute(
            f"SET LOCAL createrole_self_grant = 'set, inherit'; {script}"
            f"CREATE SCHEMA {identifier(names.schema)} AUTHORIZATION {identifier(names.role)}"
        )
    await postgres.seed(names, "CREATE TABLE of_old (id int)")
    await postgres.extend(names, expires_at=datetime.now(UTC) + timedelta(hours=1))
    await postgres.empty(names)
    assert await postgres.exists(names)
    await team.destroy(sandbox.id)
    await few.reaper.once()
    assert not [found for found in await postgres.found() if found.name == names.role]
