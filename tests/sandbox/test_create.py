"""Creating a sandbox: what is stored, what can be used at once, and who may."""

from __future__ import annotations

import re
from datetime import timedelta

import asyncpg
import pytest
from tests.conftest import Servers
from tests.sandbox.conftest import Left
from tests.sandbox.plane import WHOLE, Team, fetch, opened, spec_for, work_in

from valhalla.kernel.ids import is_id
from valhalla.kernel.problems import Forbidden
from valhalla.runtime import Runtime
from valhalla.sandbox.errors import NameTaken, TemplateUnknown
from valhalla.sandbox.vocabulary import ADJECTIVES, NOUNS


async def test_every_column_is_stored(team: Team, runtime: Runtime) -> None:
    """What was asked for is in the row, JSON as JSON, and the names in it are the ones that exist."""
    metadata = {"pr": 7, "nested": {"list": [1, None, "ü'\";$(touch x)"]}}
    created = await team.create(
        name=team.owner,
        ttl="90m",
        description="line 1\nline '2' $(touch x)",
        tags=["ci", "branch:x", "ci"],
        metadata=metadata,
        routes=[("discord.guild", "811234567890123456"), ("http.path", team.owner)],
    )
    sandbox = created.sandbox
    (row,) = await fetch(
        runtime, f"SELECT *, jsonb_typeof(metadata) AS kind FROM valhalla.sandboxes WHERE id = '{sandbox.id}'"
    )
    assert is_id(sandbox.id)
    assert not created.replayed
    assert (row["name"], row["owner"], row["status"]) == (team.owner, team.owner, "running")
    assert (row["template"], row["created_by"]) == ("empty", team.principal.id)
    assert row["description"] == "line 1\nline '2' $(touch x)"
    assert (row["tags"], row["metadata"], row["kind"]) == (["ci", "branch:x"], metadata, "object")
    assert row["expires_at"] - row["created_at"] == timedelta(minutes=90)
    assert (row["lease_until"], row["last_error"], row["destroyed_at"]) == (None, None, None)
    names = sandbox.names
    assert (row["pg_schema"], row["pg_role"], row["pg_database"]) == (names.schema, names.role, names.database)
    assert (row["valkey_user"], row["key_prefix"]) == (names.valkey_user, names.key_prefix)
    assert (row["nats_account"], row["subject_prefix"]) == (names.nats_account, names.subject_prefix)
    assert [str(route) for route in sandbox.routes] == [
        "discord.guild:811234567890123456",
        f"http.path:{team.owner}",
    ]
    assert await team.get(sandbox.id) == await team.get(team.owner) == sandbox


async def test_every_slice_can_be_used_at_once(team: Team, left: Left) -> None:
    """The answer's credentials open all three backends, and the schema that was recorded is the one in use."""
    created = await team.create()
    assert created.connection is not None
    await work_in(created.connection)
    async with opened(created.connection) as session:
        assert await session.sql.fetchval("SELECT current_schema()") == created.sandbox.names.schema
        assert await session.sql.fetchval("SELECT current_user") == created.sandbox.names.role
        assert await session.sql.fetchval("SHOW search_path") == created.sandbox.names.schema
    assert set(WHOLE) <= set(await left(created.sandbox.id))
    environment = created.connection["env"]
    assert environment["SANDBOX_ID"] == created.sandbox.id
    assert environment["SANDBOX_SCHEMA"] == created.sandbox.names.schema
    connection = await asyncpg.connect(environment["DATABASE_URL"], timeout=5)
    assert await connection.fetchval("SELECT id FROM orders") == 42
    await connection.close()


async def test_community_has_three_tables_that_work(team: Team, runtime: Runtime) -> None:
    """The built-in template's tables, their keys and their defaults."""
    created = await team.create(template="community")
    assert created.connection is not None
    async with opened(created.connection) as session:
        tables = await session.sql.fetch(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY 1"
        )
        assert [row[0] for row in tables] == ["badges", "communities", "profiles"]
        community = await session.sql.fetchval("INSERT INTO communities (name) VALUES ('x') RETURNING id")
        profile = await session.sql.fetchval(
            "INSERT INTO profiles (community_id, discord_id) VALUES ($1, '1') RETURNING id", community
        )
        award = "INSERT INTO badges (community_id, profile_id, badge_type) VALUES ($1, $2, 'og')"
        await session.sql.execute(award, community, profile)
        with pytest.raises(asyncpg.UniqueViolationError):
            await session.sql.execute(award, community, profile)
    stats = await runtime.sandboxes.stats(team.principal, created.sandbox.id)
    assert {item.table: item.rows for item in stats} == {"badges": 1, "communities": 1, "profiles": 1}


async def test_empty_is_empty(team: Team, runtime: Runtime) -> None:
    sandbox = await team.new(template="empty")
    assert await runtime.sandboxes.stats(team.principal, sandbox.id) == []


async def test_a_name_is_generated(team: Team) -> None:
    """Without a name it is owner, adjective and noun, and legal."""
    sandbox = await team.new()
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,62}", sandbox.name)
    stem, adjective, noun = sandbox.name.rsplit("-", 2)
    assert stem == team.owner
    assert adjective in ADJECTIVES
    assert noun in NOUNS


async def test_a_name_is_free_at_once_after_destruction(team: Team) -> None:
    """Not only when everything has been dropped: as soon as destroy answers."""
    first = await team.new(name=team.owner)
    with pytest.raises(NameTaken):
        await team.create(name=team.owner)
    await team.destroy(team.owner, wait=0)
    second = await team.new(name=team.owner)
    assert second.id != first.id
    assert (await team.get(team.owner)).id == second.id
    ended = await team.get(first.id)
    assert ended.status in ("destroying", "destroyed")
    connection = await team.connection(second.id)
    await work_in(connection)


async def test_a_name_is_found_for_its_owner_also_when_another_has_it_now(team: Team, stranger: Team) -> None:
    """The next owner of a name does not hide one's own ended sandbox, nor open it."""
    mine = await team.new(name=team.owner)
    await team.destroy(mine.id)
    theirs = await stranger.new(name=team.owner)
    assert (await team.get(team.owner)).id == mine.id
    assert (await stranger.get(team.owner)).id == theirs.id
    assert (await team.destroy(team.owner)).id == mine.id
    assert (await stranger.get(theirs.id)).status == "running"


async def test_another_owners_name_is_refused(team: Team, stranger: Team, admin: Team) -> None:
    """A developer's key makes sandboxes for its own owner only; an admin's for anybody."""
    with pytest.raises(Forbidden):
        await team.runtime.sandboxes.create(team.principal, spec_for(stranger.owner, team.runtime))
    assert await stranger.all() == []
    created = await admin.runtime.sandboxes.create(admin.principal, spec_for(stranger.owner, admin.runtime))
    assert [item.id for item in await stranger.live()] == [created.sandbox.id]
    assert created.sandbox.created_by == admin.principal.id


async def test_an_unknown_template_makes_nothing(team: Team) -> None:
    with pytest.raises(TemplateUnknown) as refusal:
        await team.create(template="nope")
    assert {"community", "empty"} <= set(refusal.value.extra["known"])
    assert await team.all() == []


async def test_a_dry_run_makes_nothing(team: Team, runtime: Runtime) -> None:
    """It tells what would be, refuses what would be refused, and leaves no row."""
    planned = await runtime.sandboxes.plan(team.principal, spec_for(team.owner, runtime, name=team.owner))
    assert planned.name == team.owner
    assert await team.all() == []
    await team.new(name=team.owner)
    with pytest.raises(NameTaken):
        await runtime.sandboxes.plan(team.principal, spec_for(team.owner, runtime, name=team.owner))


async def test_the_bus_prefix_is_the_only_way(team: Team, stranger: Team, servers: Servers) -> None:
    """Two sandboxes of two owners see nothing of each other with the credentials that create hands out."""
    mine, theirs = await team.create(), await stranger.create()
    assert mine.connection is not None
    assert theirs.connection is not None
    await work_in(theirs.connection)
    async with opened(mine.connection) as session:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await session.sql.fetch(f"SELECT * FROM {theirs.sandbox.names.schema}.orders")
        with pytest.raises(Exception, match=r"(?i)permission"):
            await session.cache.get(theirs.connection["valkey"]["prefix"] + "order")
        streams = await session.bus.jetstream(timeout=5).streams_info()
        assert streams == []
