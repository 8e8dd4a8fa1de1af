"""Extending, linking, resetting a sandbox, and whose it is."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.sandbox.plane import MovableClock, Team, open_bus, opened, work_in

from valhalla.kernel.problems import Invalid
from valhalla.runtime import Runtime
from valhalla.sandbox.errors import NotRunning, RouteNotFound, RouteTaken, SandboxNotFound

GUILD = ("discord.guild", "811234567890120002")


class TestExtend:
    """More time, up to the maximum."""

    async def test_it_moves_the_end_in_the_registry_and_the_database(self, team: Team, runtime: Runtime) -> None:
        sandbox = await team.new(ttl="1h")
        extension = await runtime.sandboxes.extend(team.principal, sandbox.id, "2h")
        assert not extension.capped
        assert extension.sandbox.expires_at == sandbox.expires_at + timedelta(hours=2)
        assert (await team.get(sandbox.id)).expires_at == extension.sandbox.expires_at
        connection = await team.connection(sandbox.id)
        until = datetime.fromisoformat(connection["postgres"]["valid_until"])
        assert abs(until - extension.sandbox.expires_at) < timedelta(seconds=1)
        assert abs(await self._valid_until(runtime, sandbox.names.role) - until) < timedelta(seconds=1)
        until = datetime.fromisoformat(connection["nats"]["jwt_expires_at"])
        assert abs(until - extension.sandbox.expires_at) < timedelta(seconds=2)

    async def test_the_cap_shortens_it_and_is_told(self, team: Team, runtime: Runtime) -> None:
        sandbox = await team.new(ttl="160h")
        cap = sandbox.created_at + timedelta(hours=168)
        extension = await runtime.sandboxes.extend(team.principal, sandbox.id, "7d")
        assert (extension.capped, extension.max_expires_at, extension.sandbox.expires_at) == (True, cap, cap)
        again = await runtime.sandboxes.extend(team.principal, sandbox.id, "1s")
        assert (again.capped, again.sandbox.expires_at) == (True, cap)
        assert abs(await self._valid_until(runtime, sandbox.names.role) - cap) < timedelta(seconds=1)

    @pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 1e10, True, "24", "", "1h$(touch x)"])
    async def test_nonsense_moves_nothing(self, team: Team, runtime: Runtime, ttl: Any) -> None:
        sandbox = await team.new()
        with pytest.raises(Invalid):
            await runtime.sandboxes.extend(team.principal, sandbox.id, ttl)
        assert await team.get(sandbox.id) == sandbox

    async def test_an_ended_one_is_refused(self, team: Team, runtime: Runtime, clock: MovableClock) -> None:
        """Destroyed, or only past its end while the reaper has not come yet."""
        gone, late = await team.new(), await team.new(ttl="1h")
        await team.destroy(gone.id)
        clock.ahead = timedelta(hours=1, seconds=1)
        for sandbox in (gone, late):
            with pytest.raises(NotRunning):
                await runtime.sandboxes.extend(team.principal, sandbox.id, "1h")
            with pytest.raises(NotRunning):
                await team.connection(sandbox.id)
            assert (await team.get(sandbox.id)).expires_at == sandbox.expires_at
        assert "ttl_extended" not in await team.actions(late.id)

    async def _valid_until(self, runtime: Runtime, role: str) -> datetime:
        connection = await asyncpg.connect(runtime.db.dsn)
        try:
            return await connection.fetchval("SELECT rolvaliduntil FROM pg_roles WHERE rolname = $1", role)
        finally:
            await connection.close()


class TestRoutes:
    """Claims on live events."""

    async def test_link_unlink_and_link_elsewhere(self, team: Team, stranger: Team, runtime: Runtime) -> None:
        mine, theirs = await team.new(), await stranger.new()
        service = runtime.sandboxes
        route = await service.link(team.principal, mine.id, *GUILD)
        assert str(route) == ":".join(GUILD)
        assert (await service.link(team.principal, mine.id, *GUILD)).key == GUILD[1]
        with pytest.raises(RouteTaken):
            await service.link(stranger.principal, theirs.id, *GUILD)
        with pytest.raises(RouteNotFound):
            await service.unlink(stranger.principal, theirs.id, *GUILD)
        assert (await team.connection(mine.id))["env"]["SANDBOX_ROUTES"] == ":".join(GUILD)
        await service.unlink(team.principal, mine.id, *GUILD)
        with pytest.raises(RouteNotFound):
            await service.unlink(team.principal, mine.id, *GUILD)
        await service.link(stranger.principal, theirs.id, *GUILD)
        assert [str(held) for held in (await stranger.get(theirs.id)).routes] == [":".join(GUILD)]
        assert await team.actions(mine.id) == ["created", "status_changed", "route_linked", "route_unlinked"]

    async def test_destruction_frees_them_at_once(self, team: Team, stranger: Team, runtime: Runtime) -> None:
        """Not only when everything is dropped, and the audit tells."""
        mine = await team.new(routes=[GUILD])
        await team.destroy(mine.id, wait=0)
        theirs = await stranger.new(routes=[GUILD])
        assert [str(held) for held in theirs.routes] == [":".join(GUILD)]
        actions = await team.actions(mine.id)
        assert actions.index("route_unlinked") > actions.index("destroying")
        with pytest.raises(NotRunning):
            await runtime.sandboxes.link(team.principal, mine.id, *GUILD)

    async def test_a_bad_key_changes_nothing(self, team: Team, runtime: Runtime) -> None:
        mine = await team.new()
        for key in ("$(touch x)", "1", "8112345678901200 2"):
            with pytest.raises(Invalid):
                await runtime.sandboxes.link(team.principal, mine.id, "discord.guild", key)
        assert (await team.get(mine.id)).routes == ()


class TestOwnership:
    """Another owner's sandbox does not exist."""

    async def test_nothing_can_be_done_with_it(self, team: Team, stranger: Team, runtime: Runtime) -> None:
        mine = await team.new(name=team.owner, routes=[GUILD])
        service, who = runtime.sandboxes, stranger.principal
        for reference in (mine.id, mine.name):
            for call in (
                service.get(who, reference),
                service.destroy(who, reference),
                service.extend(who, reference, "1h"),
                service.connection(who, reference),
                service.audit(who, reference, limit=10, cursor=None),
                service.link(who, reference, "discord.guild", "811234567890120003"),
                service.unlink(who, reference, *GUILD),
                service.health(who, reference),
                service.stats(who, reference),
            ):
                with pytest.raises(SandboxNotFound):
                    await call
        assert await stranger.all() == []
        page = await service.list(who, owner=team.owner, include_destroyed=True)
        assert (list(page.items), page.total) == ([], 0)
        assert await team.get(mine.id) == mine
        assert await team.actions(mine.id) == ["created", "route_linked", "status_changed"]

    async def test_an_admin_may(self, team: Team, admin: Team) -> None:
        mine = await team.new()
        assert (await admin.get(mine.id)).id == mine.id
        await admin.destroy(mine.id)
        assert (await team.get(mine.id)).status == "destroyed"
        assert [entry.actor for entry in await team.audit(mine.id) if entry.action == "destroying"] == ["admin-key"]

    @pytest.mark.parametrize(
        "reference", ["", "nope", "a" * 64, "a" * 10_000, "\x00", "a\x00", "$(touch x)", "' OR 1=1 --", "%", "\ud800"]
    )
    async def test_what_is_no_reference_is_not_found(self, team: Team, admin: Team, reference: str) -> None:
        for each in (team, admin):
            with pytest.raises(SandboxNotFound) as refusal:
                await each.get(reference)
            assert len(refusal.value.detail) < 200


async def test_a_strangers_jwt_does_not_open_the_account(team: Team, stranger: Team) -> None:
    """One sandbox's NATS credentials under another's prefix see nothing."""
    mine, theirs = await team.create(), await stranger.create()
    assert mine.connection is not None
    assert theirs.connection is not None
    bus, other = await open_bus(mine.connection), await open_bus(theirs.connection)
    try:
        heard: list[bytes] = []
        subject = mine.connection["nats"]["prefix"] + "x"

        async def note(message: Any) -> None:
            heard.append(message.data)

        await bus.subscribe(subject, cb=note)
        await bus.flush()
        await other.publish(subject, b"forged")
        await other.flush()
        await bus.publish(subject, b"own")
        await bus.flush()
        await asyncio.sleep(0.05)
        assert heard == [b"own"]
    finally:
        await bus.close()
        await other.close()


async def test_reset_brings_back_the_template_and_keeps_the_credentials(team: Team) -> None:
    """Rows, keys and streams are gone, the template is there again, and the old credentials work."""
    created = await team.create(template="community")
    assert created.connection is not None
    await work_in(created.connection)
    async with opened(created.connection) as session:
        await session.sql.execute("DROP TABLE badges; INSERT INTO communities (name) VALUES ('gone soon')")
        await team.runtime.sandboxes.reset(team.principal, created.sandbox.id)
    async with opened(created.connection) as session:
        tables = await session.sql.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        assert {row[0] for row in tables} == {"badges", "communities", "profiles"}
        assert await session.sql.fetchval("SELECT count(*) FROM communities") == 0
        assert await session.cache.get(created.connection["valkey"]["prefix"] + "order") is None
        assert await session.bus.jetstream(timeout=5).streams_info() == []
    await work_in(created.connection)
    assert "reset" in await team.actions(created.sandbox.id)


async def test_only_the_owner_resets_a_running_sandbox(team: Team, stranger: Team) -> None:
    """Another's sandbox is not found, an ended one is refused."""
    sandbox = await team.new()
    with pytest.raises(SandboxNotFound):
        await team.runtime.sandboxes.reset(stranger.principal, sandbox.id)
    await team.destroy(sandbox.id)
    with pytest.raises(NotRunning):
        await team.runtime.sandboxes.reset(team.principal, sandbox.id)
