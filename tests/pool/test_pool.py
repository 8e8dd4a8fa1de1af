"""The warm pool: complete before it is claimable, claimed once, never handed out stale."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from tests.conftest import Servers
from tests.sandbox.plane import Team, compose, developer, fetch, fresh_owner, opened, remains, set_row, within, work_in

from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Conflict
from valhalla.kit.writing import upkeep
from valhalla.runtime import Runtime
from valhalla.sandbox.errors import KeyReuse, NameTaken, OwnerLimit, RouteTaken, SandboxNotFound
from valhalla.sandbox.pool import Filler, Slot

GUILD = ("discord.guild", "811234567890123456")


@pytest.fixture
def team(pooled: Runtime) -> Team:
    return Team(pooled, developer(fresh_owner()))


async def test_a_slot_is_complete_before_it_is_claimed(pooled: Runtime, filler: Filler, team: Team) -> None:
    """A claimed sandbox works at once in all three backends, and was there before it was asked for."""
    before = {row["id"] for row in await fetch(pooled, "SELECT id FROM valhalla.sandboxes WHERE owner = ''")}
    created = await team.create()
    assert created.sandbox.id in before
    assert created.connection is not None
    await work_in(created.connection)
    assert await team.actions(created.sandbox.id) == ["created", "status_changed"]
    await team.destroy(created.sandbox.id)
    assert await _left(pooled, created.sandbox.id) == []


async def test_a_claimed_login_ends_with_its_sandbox(
    pooled: Runtime, filler: Filler, team: Team, servers: Servers
) -> None:
    """The role's VALID UNTIL is the sandbox's end, not the slot's."""
    sandboxes = [await team.new(ttl="1h") for _ in range(2)]
    # an extension before the login was shortened is not undone by the shortening
    await pooled.sandboxes.extend(team.principal, sandboxes[1].id, "1h")
    ends = [sandboxes[0].expires_at, sandboxes[1].expires_at + timedelta(hours=1)]
    admin = await asyncpg.connect(servers.superuser_url)
    for sandbox, end in zip(sandboxes, ends, strict=True):
        async with asyncio.timeout(5):
            while abs(await _valid_until(admin, sandbox.names.role) - end) > timedelta(seconds=1):
                await asyncio.sleep(0.02)
    # nothing that was under way moves them again
    await asyncio.sleep(0.2)
    assert abs(await _valid_until(admin, sandboxes[1].names.role) - ends[1]) < timedelta(seconds=1)
    await admin.close()


async def _valid_until(admin: asyncpg.Connection[asyncpg.Record], role: str) -> datetime:
    return await admin.fetchval("SELECT rolvaliduntil FROM pg_roles WHERE rolname = $1", role)


async def test_a_folder_of_scripts_is_pooled_too(filler: Filler, team: Team) -> None:
    """A user's own SQL has run before the claim."""
    created = await team.create(template="shop")
    assert created.connection is not None
    async with opened(created.connection) as session:
        assert await session.sql.fetchval("SELECT count(*) FROM goods") == 0
    assert filler.stock.claimed > 0


async def test_a_slot_is_nobodys_sandbox(pooled: Runtime, filler: Filler, team: Team) -> None:
    """Slots are neither listed, found, counted nor audited before their claim."""
    admin = Team(pooled, team.principal.__class__("root", "ops", frozenset({"admin"})))
    slot = filler.stock.ids()[0]
    with pytest.raises(SandboxNotFound):
        await admin.get(slot)
    assert slot not in {sandbox.id for sandbox in await admin.all()}
    assert "pending" not in await pooled.sandboxes.counts()


async def test_fifty_at_once_get_fifty_different_ones_within_the_limit(pooled: Runtime, filler: Filler) -> None:
    """Parallel creates of many owners never share a slot, pooled or built in line."""
    teams = [Team(pooled, developer(fresh_owner())) for _ in range(25)]
    made = await asyncio.gather(*(team.new() for team in teams for _ in range(2)))
    assert len({sandbox.id for sandbox in made}) == 50
    assert len({sandbox.name for sandbox in made}) == 50
    owners = {team.owner: team for team in teams}
    await asyncio.gather(*(owners[sandbox.owner].destroy(sandbox.id) for sandbox in made))


async def test_the_owners_limit_holds_across_pool_and_line(pooled: Runtime, filler: Filler, team: Team) -> None:
    """Of 50 parallel creates of one owner exactly five succeed, whichever way they are made."""
    results = await asyncio.gather(*(team.create() for _ in range(50)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, OwnerLimit)]
    assert len(refused) == 45, [result for result in results if isinstance(result, Exception)][:3]
    assert len(await team.live()) == 5
    for sandbox in await team.live():
        await team.destroy(sandbox.id)
    counted = await fetch(pooled, f"SELECT live FROM valhalla.owner_live WHERE owner = '{team.owner}'")
    assert [row["live"] for row in counted] == [0]


async def test_names_and_routes_are_refused_from_the_pool_too(filler: Filler, team: Team) -> None:
    """A taken name or route is a clear problem, and the slot goes back to the stock."""
    await team.create(name="pool-taken", routes=[GUILD])
    stock = len(filler.stock.ids())
    with pytest.raises(NameTaken):
        await team.create(name="pool-taken")
    with pytest.raises(RouteTaken):
        await team.create(routes=[GUILD])
    assert len(filler.stock.ids()) == stock
    sandbox = (await team.live())[0]
    assert [str(route) for route in sandbox.routes] == [":".join(GUILD)]
    await team.destroy(sandbox.id)


async def test_twenty_racing_for_one_name_make_one(filler: Filler, team: Team) -> None:
    """In one batch or in several, one name goes to one sandbox."""
    results = await asyncio.gather(*(team.create(name="pool-race") for _ in range(20)), return_exceptions=True)
    assert sum(not isinstance(result, Exception) for result in results) == 1
    assert all(isinstance(result, (NameTaken, OwnerLimit)) for result in results if isinstance(result, Exception))


async def test_an_idempotency_key_makes_one_sandbox(filler: Filler, team: Team) -> None:
    """A repeated request answers with the first sandbox; another request with the key is refused."""
    results = await asyncio.gather(*(team.create(key="once") for _ in range(10)), return_exceptions=True)
    ids = {result.sandbox.id for result in results if not isinstance(result, BaseException)}
    assert len(ids) == 1
    assert (await team.create(key="once")).replayed
    with pytest.raises(KeyReuse):
        await team.create(key="once", description="something else")


async def test_a_claimed_slot_is_not_claimed_again(pooled: Runtime, filler: Filler, team: Team) -> None:
    """A stock that is wrong about a slot does not hand it out twice."""
    created = await team.create()
    stolen = Slot(created.sandbox.names, "empty", pooled.sandboxes.templates.get("empty").version)  # type: ignore[union-attr]
    filler.stock.give_back(stolen)
    other = await team.create()
    assert other.sandbox.id != created.sandbox.id


async def test_two_processes_reserve_different_slots(
    pooled: Runtime, filler: Filler, servers: Servers, tmp_path: Path
) -> None:
    """Another control plane on the same registry takes none of ours, until our reservation runs out."""
    ours = set(filler.stock.ids())
    url = pooled.settings.database_url
    assert url is not None
    second = await compose(
        servers, pooled.cell, tmp_path, clock=Clock(), name="valhalla_pool", pool_size=6, pool_templates=["empty"]
    )
    await second.backends.postgres.prepare()
    try:
        # as when it is started: before its snapshots are read, it lets nobody else write
        second.sandboxes.filler.paused = lambda: False
        with upkeep():
            await second.sandboxes.filler.once()
        theirs = set(second.sandboxes.filler.stock.ids())
        assert theirs
        assert not theirs & ours
    finally:
        await second.stop()


async def test_an_older_template_version_is_never_handed_out(pooled: Runtime, filler: Filler, team: Team) -> None:
    """After a change of the template its slots are ended, and what is made has the new contents."""
    script = pooled.settings.data_dir / "templates" / "shop" / "1.sql"
    before = await fetch(pooled, "SELECT id FROM valhalla.sandboxes WHERE owner = '' AND template = 'shop'")
    script.write_text("CREATE TABLE wares (id int)")
    created = await team.create(template="shop")
    assert created.connection is not None
    async with opened(created.connection) as session:
        assert await session.sql.fetchval("SELECT to_regclass('goods') IS NULL AND to_regclass('wares') IS NOT NULL")
    while await filler.once():
        pass
    for row in before:
        assert await _left(pooled, row["id"]) == []


async def test_a_filling_that_fails_leaves_nothing(
    pooled: Runtime, filler: Filler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When one backend refuses a batch, all of the batch is removed everywhere."""
    known = {row["id"] for row in await fetch(pooled, "SELECT id FROM valhalla.sandboxes")}

    async def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no accounts today")

    await _empty(pooled)
    with monkeypatch.context() as patch:
        patch.setattr(pooled.backends.nats, "provision", refuse)
        with pytest.raises(RuntimeError):
            await filler.once()
    new = {row["id"] for row in await fetch(pooled, "SELECT id FROM valhalla.sandboxes")} - known
    assert new
    for slot in new:
        assert await _left(pooled, slot) == []


async def test_a_dead_fillers_slots_are_swept(pooled: Runtime, filler: Filler) -> None:
    """A half-built slot whose lease is over is removed by the reaper; a ready one is left alone."""
    half, ready = filler.stock.ids()[:2]
    filler.stock.forget([half])
    await set_row(pooled, half, slot_ready_at=None, lease_until=Clock().now() - timedelta(seconds=1))
    await pooled.reaper.once()
    assert await _left(pooled, half) == []
    assert len(await _left(pooled, ready)) == 4


async def test_the_reaper_never_ends_a_slot_that_was_claimed_meanwhile(
    pooled: Runtime, filler: Filler, team: Team
) -> None:
    """What was found pending and is running by now stays."""
    created = await team.create()
    with pytest.raises(Conflict):
        await pooled.sandboxes.teardown.begin(created.sandbox.id, actor="reaper", reason="late", sources=("pending",))
    assert (await team.get(created.sandbox.id)).status == "running"


async def test_a_restarted_valkey_gets_the_slots_users_back(pooled: Runtime, filler: Filler, servers: Servers) -> None:
    """A slot is complete again after Valkey has forgotten its users."""
    slot = filler.stock.ids()[0]
    servers.stack.restart("valkey")
    await within(5, lambda: _reaped(pooled))
    assert "valkey user" in await _left(pooled, slot)


async def _reaped(pooled: Runtime) -> bool:
    return not (await pooled.reaper.once()).failed


async def _left(pooled: Runtime, sandbox_id: str) -> list[str]:
    url = pooled.settings.valkey_url
    assert url is not None
    return await remains(pooled, sandbox_id, url.get_secret_value())


async def _empty(pooled: Runtime) -> None:
    """End every ready slot."""
    filler = pooled.sandboxes.filler
    for row in await fetch(pooled, "SELECT id FROM valhalla.sandboxes WHERE owner = '' AND status = 'pending'"):
        filler.stock.forget([row["id"]])
        sandbox = await pooled.sandboxes.teardown.begin(row["id"], actor="test", reason="test")
        await pooled.sandboxes.teardown.finish(sandbox, actor="test")
