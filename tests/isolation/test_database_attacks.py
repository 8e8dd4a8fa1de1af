"""Sandboxes with a database of their own: what schemas share is theirs alone, and what is closed there stays so.

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
from valhalla.sandbox.slices.contracts import Found, Names
from valhalla.sandbox.slices.postgres import Bootstrap, PostgresSlice, bootstrap
from valhalla.sandbox.slices.postgres.bootstrap import own_template_name, template_name

DENIED = "42501"  # insufficient_privilege
Session = Any  # an asyncpg connection


@dataclass
class Field:
    """Two sandboxes with databases of their own and one in an arena, on one server."""

    postgres: PostgresSlice
    a: Names
    b: Names
    c: Names
    superuser: str
    cell: str

    def own(self) -> Names:
        sandbox_id = new_id()
        return Names.for_sandbox(sandbox_id, cell=self.cell, database=self.postgres.databases.name_of(sandbox_id))

    async def enter(self, names: Names, database: str) -> Session:
        """Log in with a sandbox's credentials somewhere else."""
        address = self.postgres.connection(names, expires_at=datetime.now(UTC))
        login = {key: address[key] for key in ("host", "port", "user", "password")}
        return await asyncpg.connect(**login, database=database, timeout=5)


@pytest.fixture(scope="module")
async def field(closed: str) -> AsyncGenerator[Field]:
    cell = CellKey.parse("D" * 43)
    plan = Bootstrap("valhalla_owned", "secret", "valhalla_owned", cell.cell)
    await bootstrap(closed, plan, exclusive=True)
    base = closed.rpartition("@")[2].partition("/")[0]
    postgres = PostgresSlice(f"postgresql://valhalla_owned:secret@{base}/valhalla_owned", cell)
    assert await postgres.prepare() == []
    made = Field(postgres, *[None] * 3, closed, cell.cell)  # type: ignore[arg-type]
    made.a, made.b = made.own(), made.own()
    made.c = Names.for_sandbox(new_id(), cell=cell.cell, database=postgres.arenas.current)
    everyone = (made.a, made.b, made.c)
    for names in everyone:
        await postgres.provision(
            names, expires_at=datetime.now(UTC) + timedelta(hours=1), seed="CREATE TABLE t (x int)"
        )
    yield made
    for names in everyone:
        await postgres.cut(names)
        await postgres.drop(names)
    assert await postgres.found() == []
    await postgres.close()


@pytest.fixture
async def a(field: Field) -> AsyncGenerator[Session]:
    """A session of the attacker."""
    session = await field.postgres.login(field.a)
    yield session
    session.terminate()


REFUSED = [
    ("roles", "SELECT rolname FROM pg_roles"),
    ("databases", "SELECT datname FROM pg_database"),
    ("who depends on what", "SELECT * FROM pg_shdepend"),
    ("memberships", "SELECT * FROM pg_auth_members"),
    ("activity", "SELECT * FROM pg_stat_activity"),
    ("activity function", "SELECT * FROM pg_stat_get_activity(NULL)"),
    ("databases' statistics", "SELECT * FROM pg_stat_database"),
    ("locks", "SELECT * FROM pg_locks"),
    ("size of a database", "SELECT pg_database_size('{b}')"),
    ("size of a tablespace", "SELECT pg_tablespace_size('pg_default')"),
    ("another's password", "ALTER ROLE {brole} PASSWORD 'x'"),
    ("set role", "SET ROLE {brole}"),
    ("set role group", "SET ROLE {group}"),
    ("rename the database", "ALTER DATABASE {own} RENAME TO mine"),
    ("open the database", "GRANT CONNECT ON DATABASE {b} TO {arole}"),
    ("drop another", "DROP DATABASE {b}"),
    ("clone another", "CREATE DATABASE copy TEMPLATE {b}"),
    ("create schema", "CREATE SCHEMA other"),
    ("create in public", "CREATE TABLE public.x (x int)"),
    ("extension", "CREATE EXTENSION plpgsql"),
    ("wal flood", "SELECT pg_logical_emit_message(false, 'x', 'y')"),
    ("import a file", "SELECT lo_import('/etc/passwd')"),
    ("copy program", "COPY (SELECT 1) TO PROGRAM 'id'"),
    ("read file", "SELECT pg_read_file('/etc/passwd')"),
    ("settings for everybody here", "ALTER DATABASE {own} SET work_mem = '1GB'"),
]


@pytest.mark.parametrize(("attack", "statement"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_server_refuses(field: Field, a: Session, attack: str, statement: str) -> None:
    """What all databases of a server share is closed as in an arena."""
    values = {"own": field.a.database, "b": field.b.database, "arole": field.a.role, "brole": field.b.role}
    with pytest.raises(asyncpg.PostgresError) as refusal:
        async with asyncio.timeout(5):
            await a.execute(statement.format(**values, group=field.postgres.databases.group))
    assert refusal.value.sqlstate == DENIED or (attack, refusal.value.sqlstate) == ("extension", "42710")


@pytest.mark.parametrize("place", ["b", "arena", "control", "postgres", "template1", "template", "own template"])
async def test_no_other_database_can_be_entered(field: Field, place: str) -> None:
    """Neither a sibling's, nor an arena, nor the control plane's, nor a template."""
    database = {
        "b": field.b.database,
        "arena": field.c.database,
        "control": "valhalla_owned",
        "template": template_name(field.cell),
        "own template": own_template_name(field.cell),
    }.get(place, place)
    with pytest.raises(asyncpg.PostgresError) as refusal:
        await field.enter(field.a, database)
    assert refusal.value.sqlstate in {DENIED, "55000"}


async def test_nobody_else_enters(field: Field) -> None:
    """Neither a sibling nor a sandbox of an arena."""
    for names in (field.b, field.c):
        with pytest.raises(asyncpg.PostgresError) as refusal:
            await field.enter(names, field.a.database)
        assert refusal.value.sqlstate == DENIED


async def test_names_of_siblings_are_not_in_the_catalogs(field: Field, a: Session) -> None:
    """The sandbox sees its own schema, and of no other thing the name or the definition."""
    schemas = await a.fetch("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'sbx%'")
    assert [row[0] for row in schemas] == [field.a.schema]
    tables = await a.fetch("SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 't'")
    assert [row[0] for row in tables] == [field.a.schema]
    assert await a.fetch("SELECT viewname FROM pg_views WHERE schemaname LIKE 'sbx%'") == []


async def test_notifications_do_not_cross(field: Field, a: Session) -> None:
    """Every other sandbox notifies the channel that A listens to; A hears itself alone."""
    heard: list[str] = []
    await a.add_listener("orders", lambda *message: heard.append(str(message[3])))
    for names in (field.b, field.c, field.a):
        session = await field.postgres.login(names)
        await session.execute(f"NOTIFY orders, '{names.id}'")
        await session.close()
    while not heard:
        await asyncio.sleep(0.01)
    await a.fetchval("SELECT 1")
    assert heard == [field.a.id]
    await a.execute("SELECT pg_notify('orders', 'by function')")


async def test_advisory_locks_do_not_cross(field: Field, a: Session) -> None:
    """Two siblings hold the same key at once; a second session of one waits for the first."""
    await a.execute("SELECT pg_advisory_lock(42)")
    sibling, second = await field.postgres.login(field.b), await field.postgres.login(field.a)
    assert await sibling.fetchval("SELECT pg_try_advisory_lock(42)") is True
    assert await second.fetchval("SELECT pg_try_advisory_lock(42)") is False
    await sibling.close()
    await second.close()


async def test_what_goes_with_the_database_is_allowed(a: Session) -> None:
    """Temporary tables and large objects: dropping the database leaves nothing of them."""
    await a.execute("CREATE TEMP TABLE scratch (x int); SELECT lo_create(0); SELECT pg_total_relation_size('t')")


async def test_credentials_and_limits_are_the_same(field: Field, a: Session) -> None:
    """Five connections, a schema of its own as the search path, a temporary-file limit that binds."""
    held = [await field.postgres.login(field.a) for _ in range(4)]
    with pytest.raises(asyncpg.TooManyConnectionsError):
        await field.postgres.login(field.a)
    for session in held:
        await session.close()
    assert await a.fetchval("SELECT current_schema()") == field.a.schema
    assert await a.fetchval("SHOW temp_file_limit") == "1GB"
    assert (await field.postgres.probe(field.a)).ok


async def _made(field: Field) -> Names:
    names = field.own()
    await field.postgres.provision(names, expires_at=datetime.now(UTC) + timedelta(hours=1), seed="CREATE TABLE t ()")
    return names


async def _left(field: Field, names: Names) -> list[str]:
    return [item.kind for item in await field.postgres.found() if item.sandbox_id == names.id]


async def test_cut_and_drop(field: Field) -> None:
    """The cut ends sessions and logins; the drop leaves nothing, also while somebody held a lock."""
    names = await _made(field)
    assert sorted(await _left(field, names)) == ["database", "role"]
    session = await field.postgres.login(names)
    await session.execute("BEGIN; LOCK TABLE t")
    await field.postgres.cut(names)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)):
        await session.fetchval("SELECT 1")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await field.postgres.login(names)
    await field.postgres.drop(names)
    await field.postgres.drop(names)
    assert await _left(field, names) == []


async def test_empty_makes_it_anew(field: Field) -> None:
    """After a reset nothing of before is there, not even outside the schema; the credentials work."""
    names = await _made(field)
    session = await field.postgres.login(names)
    await session.execute("SELECT lo_create(77)")
    await field.postgres.empty(names)
    session = await field.postgres.login(names)
    assert (
        await session.fetchval("SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace") == 0
    )
    assert await session.fetchval("SELECT count(*) FROM pg_largeobject_metadata") == 0
    await session.execute("CREATE TABLE again (x int)")
    await session.close()
    await field.postgres.cut(names)
    await field.postgres.drop(names)


async def test_provision_resumes_half_way(field: Field) -> None:
    """A database that was made and not opened, as a crash leaves it, is finished by the next provision."""
    names = field.own()
    superuser = await asyncpg.connect(field.superuser)
    await superuser.execute(f'CREATE DATABASE "{names.database}" OWNER valhalla_owned ALLOW_CONNECTIONS false')
    await superuser.close()
    await field.postgres.provision(names, expires_at=datetime.now(UTC) + timedelta(hours=1), seed="CREATE TABLE t ()")
    with pytest.raises(asyncpg.PostgresError):
        await field.enter(field.c, names.database)
    await (await field.postgres.login(names)).close()
    await field.postgres.cut(names)
    await field.postgres.drop(names)
    assert await _left(field, names) == []


async def test_only_ours_are_swept(field: Field) -> None:
    """A database of somebody else, of another cell, or of another form of name is neither listed nor dropped."""
    superuser = await asyncpg.connect(field.superuser)
    theirs = [field.postgres.databases.name_of(new_id()), f"vh_zzzzzz_sbx_{new_id()}", f"vh_{field.cell}_sbx_short"]
    for name, owner in zip(theirs, ("postgres", "valhalla_owned", "valhalla_owned"), strict=True):
        await superuser.execute(f'CREATE DATABASE "{name}" OWNER {owner}')
    try:
        assert not {item.name for item in await field.postgres.found()} & set(theirs)
        # also when it is asked for by name
        await field.postgres.remove(Found("postgres", "database", theirs[0], theirs[0][-16:]))
        assert await superuser.fetchval("SELECT count(*) FROM pg_database WHERE datname = ANY($1)", theirs) == 3
    finally:
        for name in theirs:
            await superuser.execute(f'DROP DATABASE "{name}"')
        await superuser.close()
