"""Many callers at once: every limit holds, one of them wins, and the losers leave nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import make_url
from tests.conftest import Servers
from tests.sandbox.conftest import Left
from tests.sandbox.plane import ADMINISTRATOR, MovableClock, Team, compose, developer, fetch, fresh_owner, work_in
from tests.sandbox.racing import race

from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Problem, Unavailable
from valhalla.runtime import Runtime
from valhalla.sandbox.errors import CreateFailed, InProgress, NameTaken, NotRunning, OwnerLimit, RouteTaken
from valhalla.sandbox.slices.contracts import Names


async def test_the_owners_limit_holds_under_fifty(team: Team, left: Left, runtime: Runtime) -> None:
    """Exactly five of fifty are made; the others are refused and have no row, so nothing half-made either."""
    made, refused = await race(*(team.create() for _ in range(50)))
    assert len(made) == 5
    assert {type(item) for item in refused} == {OwnerLimit}
    assert len({created.sandbox.name for created in made}) == 5
    rows = await team.all()
    assert {row.id for row in rows} == {created.sandbox.id for created in made}
    assert {row.status for row in rows} == {"running"}
    for problem in refused:
        assert isinstance(problem, OwnerLimit)
        assert problem.extra == {"owner": team.owner, "live": 5, "limit": 5}
    await team.destroy(made[0].sandbox.id, wait=0)
    again = await team.create()
    assert again.connection is not None
    await work_in(again.connection)
    with pytest.raises(OwnerLimit):
        await team.create()


async def test_two_control_planes_share_the_limit(servers: Servers, runtime: Runtime, folder: Any, left: Left) -> None:
    """Creates race through two processes' worth of everything, and the reapers of both leave the winners alone."""
    other = await compose(servers, runtime.cell, folder, clock=Clock(), name="valhalla_sandboxes")
    await other.start(lambda _key: None)
    try:
        owner = developer(fresh_owner())
        here, there = Team(runtime, owner), Team(other, owner)
        made, refused = await race(
            *((here if n % 2 else there).create() for n in range(10)),
            *((runtime if n % 2 else other).reaper.once() for n in range(4)),
        )
        created = [item for item in made if not hasattr(item, "orphans")]
        assert len(created) == 5
        assert {type(item) for item in refused} == {OwnerLimit}
        assert [item.status for item in await here.all()] == ["running"] * 5
        for item in created:
            await work_in(item.connection)
        gone, wrong = await race(
            *(each.destroy(item.sandbox.id) for each in (here, there) for item in created),
            *(each.reaper.once() for each in (runtime, other)),
        )
        assert wrong == []
        assert {item.status for item in gone if hasattr(item, "status")} == {"destroyed"}
        assert [await left(item.sandbox.id) for item in created] == [[]] * 5
        actions = await here.actions(created[0].sandbox.id)
        assert actions == ["created", "status_changed", "destroying", "destroyed"]
    finally:
        await other.stop()


async def test_a_destroy_that_a_deadlock_takes_back_is_done_all_the_same(
    servers: Servers, runtime: Runtime, team: Team
) -> None:
    """Somebody holds a route's row and then wants the sandbox's, which the destroy has by then."""
    sandbox = (await team.create(routes=[("discord.guild", "811234567890120077")])).sandbox
    dsn = make_url(servers.superuser_url).set(database=runtime.backends.postgres.pools.control_database)
    other = await asyncpg.connect(dsn.render_as_string(hide_password=False))
    try:
        # so that it is always the destroy that loses
        await other.execute("SET deadlock_timeout = '60s'")
        async with other.transaction():
            await other.execute("SELECT FROM valhalla.sandbox_routes WHERE sandbox_id = $1 FOR UPDATE", sandbox.id)
            ending = asyncio.create_task(team.destroy(sandbox.id))
            waiting = (
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
            )
            async with asyncio.timeout(30):
                while not await other.fetchval(waiting):
                    await asyncio.sleep(0.01)
            await other.execute("SELECT FROM valhalla.sandboxes WHERE id = $1 FOR UPDATE", sandbox.id)
        assert (await ending).status == "destroyed"
    finally:
        await other.close()


async def test_one_of_twenty_gets_the_name(runtime: Runtime) -> None:
    """Twenty owners ask for one name."""
    teams = [Team(runtime, developer(fresh_owner())) for _ in range(20)]
    name = teams[0].owner
    made, refused = await race(*(each.create(name=name) for each in teams))
    assert len(made) == 1
    assert {type(item) for item in refused} == {NameTaken}
    rows = [row for each in teams for row in await each.all()]
    assert [row.id for row in rows] == [made[0].sandbox.id]
    await Team(runtime, ADMINISTRATOR).destroy(name)


async def test_one_of_many_gets_the_route(runtime: Runtime, stranger: Team) -> None:
    """Links and creates race for one route; the losers have no row, and the winner's is stored once."""
    route = ("discord.guild", "811234567890120001")
    boxes = [await stranger.new() for _ in range(4)]
    teams = [Team(runtime, developer(fresh_owner())) for _ in range(6)]
    service = runtime.sandboxes
    made, refused = await race(
        *(each.create(routes=[route]) for each in teams),
        *(service.link(stranger.principal, box.id, *route) for box in boxes),
    )
    assert len(made) == 1
    assert {type(item) for item in refused} == {RouteTaken}
    rows = [row for each in (*teams, stranger) for row in await each.all()]
    assert [str(held) for row in rows for held in row.routes] == [":".join(route)]
    assert len(rows) == len(boxes) + sum(hasattr(item, "sandbox") for item in made)
    for each in teams:
        for row in await each.live():
            await each.destroy(row.id)


async def test_one_of_two_destroys_counts(team: Team) -> None:
    """Concurrent destroys all succeed and the audit shows one."""
    sandbox = await team.new()
    answers, refused = await race(*(team.destroy(sandbox.id) for _ in range(10)))
    assert refused == []
    assert {answer.status for answer in answers} == {"destroyed"}
    assert (await team.actions(sandbox.id)).count("destroying") == 1


async def test_destroy_while_creating(
    team: Team, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, left: Left
) -> None:
    """The creator learns of it, and what it went on to make goes too."""
    at_work, go_on = asyncio.Event(), asyncio.Event()
    provision = runtime.backends.valkey.provision

    async def slow(names: Names, **said: Any) -> None:
        at_work.set()
        await go_on.wait()
        await provision(names, **said)

    monkeypatch.setattr(runtime.backends.valkey, "provision", slow)
    making = asyncio.create_task(team.create(name=team.owner))
    await at_work.wait()
    assert (await team.get(team.owner)).status == "creating"
    gone = await team.destroy(team.owner, wait=10)
    assert gone.status == "destroyed"
    go_on.set()
    with pytest.raises(CreateFailed, match="removed while it was being made"):
        await making
    assert await left(gone.id) == []
    assert "running" not in str(await team.audit(gone.id))
    monkeypatch.undo()
    assert (await team.new(name=team.owner)).id != gone.id


async def test_a_creator_that_lost_its_lease_cleans_up(
    team: Team, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, left: Left, clock: MovableClock
) -> None:
    """The reaper has taken a frozen creation for dead; when it thaws, it does not bring the sandbox back."""
    at_work, go_on = asyncio.Event(), asyncio.Event()
    provision = runtime.backends.nats.provision

    async def frozen(names: Names, **said: Any) -> None:
        at_work.set()
        await go_on.wait()
        await provision(names, **said)

    monkeypatch.setattr(runtime.backends.nats, "provision", frozen)
    making = asyncio.create_task(team.create(key="k1"))
    await at_work.wait()
    (row,) = await team.all()
    with pytest.raises(InProgress):
        await team.create(key="k1")
    clock.ahead = timedelta(seconds=2)
    assert row.id in (await runtime.reaper.once()).destroyed
    go_on.set()
    with pytest.raises(CreateFailed):
        await making
    assert await left(row.id) == []
    assert await team.actions(row.id) == ["created", "failed", "destroyed"]


async def test_extensions_that_race_both_count(team: Team, runtime: Runtime) -> None:
    """Two callers who each added an hour have added two, and the database lets the sandbox in until then."""
    import asyncpg

    sandbox = await team.new(ttl="1h")
    service = runtime.sandboxes
    answers, refused = await race(*(service.extend(team.principal, sandbox.id, "1h") for _ in range(4)))
    assert (len(answers), refused) == (4, [])
    after = await team.get(sandbox.id)
    assert after.expires_at - sandbox.expires_at == timedelta(hours=4)
    admin = await asyncpg.connect(runtime.db.dsn)
    valid = await admin.fetchval("SELECT rolvaliduntil FROM pg_roles WHERE rolname = $1", sandbox.names.role)
    await admin.close()
    assert abs(valid - after.expires_at) < timedelta(seconds=1)
    moves = [(e.details["from"], e.details["to"]) for e in await team.audit(sandbox.id) if e.action == "ttl_extended"]
    assert [to for _, to in moves[:-1]] == [before for before, _ in moves[1:]]


async def test_extend_against_destroy(team: Team, runtime: Runtime, left: Left) -> None:
    """Whoever wins, nothing runs without its schema and nothing ended has its time moved."""
    for _ in range(5):
        sandbox = await team.new(ttl="1h")
        _, refused = await race(runtime.sandboxes.extend(team.principal, sandbox.id, "1h"), team.destroy(sandbox.id))
        assert all(isinstance(item, (NotRunning, Problem)) for item in refused)
        after = await team.get(sandbox.id)
        assert after.status == "destroyed"
        assert await left(sandbox.id) == []
        actions = await team.actions(sandbox.id)
        assert "ttl_extended" not in actions[actions.index("destroying") :]


async def test_the_owners_count_agrees_with_the_rows(
    team: Team, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, clock: MovableClock
) -> None:
    """After every way in and out of life, all at once: a count that drifted would lock an owner out for ever."""
    provision, turn = runtime.backends.nats.provision, iter(range(1000))

    async def flaky(names: Names, **said: Any) -> None:
        if next(turn) % 3 == 0:
            raise Unavailable("nats")
        await provision(names, **said)

    with monkeypatch.context() as patch:
        patch.setattr(runtime.backends.nats, "provision", flaky)
        made, _ = await race(*(team.create(ttl="1h", key=f"k{n % 7}") for n in range(14)))
        await race(*(team.destroy(item.sandbox.id) for item in made[:2] * 2), *(team.create() for _ in range(6)))
    clock.ahead = timedelta(hours=1)
    await runtime.reaper.once()
    clock.ahead = timedelta(0)
    live = len(await team.live())
    (row,) = await fetch(runtime, f"SELECT live FROM valhalla.owner_live WHERE owner = '{team.owner}'")
    assert row["live"] == live
    made, refused = await race(*(team.create() for _ in range(8)))
    assert (live + len(made), {type(item) for item in refused}) == (5, {OwnerLimit})
