"""Looking at sandboxes: how one is, how many there are, and what is kept of what happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
import redis.asyncio
from tests.conftest import Servers
from tests.sandbox.plane import MovableClock, Team, fetch, opened, set_row

from valhalla.kernel.problems import Invalid
from valhalla.runtime import Runtime
from valhalla.sandbox.errors import NotRunning

GUILD = ("discord.guild", "811234567890120002")


class TestHealth:
    """The verdict, found with the sandbox's own credentials."""

    async def _report(self, team: Team, reference: str) -> Any:
        return await team.runtime.sandboxes.health(team.principal, reference)

    async def test_healthy(self, team: Team) -> None:
        report = await self._report(team, (await team.new()).id)
        assert (report.health, report.reasons) == ("healthy", ())
        assert set(report.checks) == {"postgres", "valkey", "nats", "ttl", "lane", "routes"}
        assert all(check.ok for check in report.checks.values())

    async def test_degraded_when_little_time_is_left(self, team: Team, clock: MovableClock) -> None:
        sandbox = await team.new(ttl="1h")
        clock.ahead = timedelta(minutes=50)
        report = await self._report(team, sandbox.id)
        assert report.health == "degraded"
        assert report.reasons == ("ttl: 9 min left",)

    async def test_degraded_when_every_connection_is_in_use(self, team: Team) -> None:
        created = await team.create()
        assert created.connection is not None
        held = [await asyncpg.connect(created.connection["postgres"]["url"]) for _ in range(5)]
        try:
            report = await self._report(team, created.sandbox.id)
        finally:
            for connection in held:
                await connection.close()
        assert report.health == "degraded"
        assert "in use" in report.reasons[0]

    async def test_unhealthy_when_its_time_is_over(self, team: Team, clock: MovableClock) -> None:
        sandbox = await team.new(ttl="1h")
        clock.ahead = timedelta(hours=2)
        report = await self._report(team, sandbox.id)
        assert (report.health, report.reasons) == ("unhealthy", ("ttl: its time is over",))

    async def test_unhealthy_without_its_acl_user(self, team: Team, servers: Servers) -> None:
        sandbox = await team.new()
        admin: Any = redis.asyncio.Redis.from_url(str(servers.endpoints.valkey_url))
        await admin.execute_command("ACL", "DELUSER", sandbox.names.valkey_user)
        await admin.aclose()
        report = await self._report(team, sandbox.id)
        assert report.health == "unhealthy"
        (reason,) = report.reasons
        assert reason.startswith("valkey: ")
        assert report.checks["postgres"].ok
        assert report.checks["nats"].ok

    async def test_unhealthy_without_its_schema(self, team: Team) -> None:
        created = await team.create()
        assert created.connection is not None
        async with opened(created.connection) as session:
            await session.sql.execute(f"DROP SCHEMA {created.sandbox.names.schema} CASCADE")
        report = await self._report(team, created.sandbox.id)
        assert report.health == "unhealthy"
        assert report.reasons == (f"postgres: schema {created.sandbox.names.schema} is missing",)

    async def test_unhealthy_without_its_account(self, team: Team, runtime: Runtime) -> None:
        sandbox = await team.new()
        await runtime.backends.nats.cut(sandbox.names)
        report = await self._report(team, sandbox.id)
        assert report.health == "unhealthy"
        assert report.reasons[0].startswith("nats: ")

    async def test_unhealthy_when_it_does_not_run(self, team: Team) -> None:
        sandbox = await team.new()
        await team.destroy(sandbox.id)
        report = await self._report(team, sandbox.id)
        assert (report.health, report.reasons) == ("unhealthy", ("the sandbox is destroyed",))


async def test_stats_count_rows(team: Team, runtime: Runtime) -> None:
    """Every base table, whatever its name, with its exact number of rows."""
    created = await team.create()
    assert created.connection is not None
    async with opened(created.connection) as session:
        await session.sql.execute(
            'CREATE TABLE "Odd ""name" (id int); CREATE TABLE t (id int); CREATE VIEW v AS TABLE t'
        )
        await session.sql.execute("INSERT INTO t SELECT generate_series(1, 1234)")
    stats = await runtime.sandboxes.stats(team.principal, created.sandbox.id)
    assert {item.table: item.rows for item in stats} == {'Odd "name': 0, "t": 1234}
    await team.destroy(created.sandbox.id)
    with pytest.raises(NotRunning):
        await runtime.sandboxes.stats(team.principal, created.sandbox.id)


async def test_activity_is_seen(team: Team, runtime: Runtime) -> None:
    """A sandbox that somebody works in shows when that was; the control plane's own probes do not count."""
    created = await team.create()
    assert created.connection is not None
    await runtime.sandboxes.health(team.principal, created.sandbox.id)
    await runtime.reaper.once()
    assert (await team.get(created.sandbox.id)).last_activity_at is None
    async with opened(created.connection) as session:
        await session.sql.execute("SELECT 1")
        await runtime.reaper.once()
    seen = (await team.get(created.sandbox.id)).last_activity_at
    assert seen is not None
    assert abs(datetime.now(UTC) - seen) < timedelta(seconds=10)


async def test_a_list_is_filtered_and_paged(team: Team, runtime: Runtime) -> None:
    made = [await team.new(tags=[f"n{n}", "even" if n % 2 == 0 else "odd"]) for n in range(5)]
    service = runtime.sandboxes
    seen: list[str] = []
    cursor = None
    while True:
        page = await service.list(team.principal, limit=2, cursor=cursor)
        seen += [item.id for item in page.items]
        assert page.total == 5
        if (cursor := page.next) is None:
            break
    assert seen == [sandbox.id for sandbox in reversed(made)]
    even = await service.list(team.principal, tag="even")
    assert {item.id for item in even.items} == {made[n].id for n in (0, 2, 4)}
    await team.destroy(made[0].id)
    assert made[0].id not in {item.id for item in await team.live()}
    ended = await service.list(team.principal, statuses=["destroyed"])
    assert [item.id for item in ended.items] == [made[0].id]
    with pytest.raises(Invalid):
        await service.list(team.principal, cursor="nonsense")


class TestAudit:
    """What happened outlives the sandbox, complete and without secrets."""

    async def test_the_whole_life(self, team: Team, runtime: Runtime) -> None:
        sandbox = await team.new(routes=[GUILD], ttl="1h")
        service = runtime.sandboxes
        await service.extend(team.principal, sandbox.id, "1h")
        await service.link(team.principal, sandbox.id, "http.path", "x")
        await service.unlink(team.principal, sandbox.id, "http.path", "x")
        await team.destroy(sandbox.id)
        entries = await team.audit(sandbox.id)
        assert [entry.action for entry in entries] == [
            "created",
            "route_linked",
            "status_changed",
            "ttl_extended",
            "route_linked",
            "route_unlinked",
            "destroying",
            "route_unlinked",
            "destroyed",
        ]
        assert {entry.actor for entry in entries} == {team.principal.id}
        assert entries[0].details["name"] == sandbox.name
        assert entries[2].details == {"from": "creating", "to": "running"}
        assert entries[3].details["capped"] is False
        assert entries[4].details == {"route": "http.path:x"}
        assert entries[-1].details["to"] == "destroyed"
        assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)

    async def test_it_is_kept_by_id_when_the_name_has_a_new_bearer(self, team: Team) -> None:
        old = await team.new(name=team.owner)
        await team.destroy(old.id)
        await team.new(name=team.owner)
        assert (await team.actions(old.id))[-1] == "destroyed"
        assert await team.actions(team.owner) == ["created", "status_changed"]

    async def test_nothing_secret_is_stored(self, team: Team, runtime: Runtime) -> None:
        """Not in the ledger, not in the events, not in the registry: neither the passwords nor the credentials."""
        created = await team.create(description="d", metadata={"a": 1})
        assert created.connection is not None
        sandbox, service = created.sandbox, runtime.sandboxes
        await team.connection(sandbox.id)
        await service.health(team.principal, sandbox.id)
        await service.extend(team.principal, sandbox.id, "1h")
        await set_row(runtime, sandbox.id, last_activity_at=datetime.now(UTC))
        await team.destroy(sandbox.id)
        creds = created.connection["nats"]["creds"]
        seed = next(line for line in creds.splitlines() if line.startswith("SU"))
        token = next(line for line in creds.splitlines() if line.startswith("ey"))
        secrets = [
            created.connection["postgres"]["password"],
            created.connection["valkey"]["password"],
            seed,
            token,
            token.split(".")[2],
        ]
        assert all(len(secret) > 20 for secret in secrets)
        rows = [
            *await fetch(runtime, "SELECT * FROM valhalla.ledger_entries"),
            *await fetch(runtime, "SELECT * FROM valhalla.events"),
            *await fetch(runtime, "SELECT * FROM valhalla.sandboxes"),
        ]
        stored = "\n".join(str(dict(row)) for row in rows)
        assert sandbox.id in stored
        assert [secret for secret in secrets if secret in stored] == []


async def test_events_follow_every_change(team: Team, runtime: Runtime) -> None:
    """Each is written in the transaction of its cause, in order, on the sandbox's subject."""
    sandbox = await team.new()
    await runtime.sandboxes.link(team.principal, sandbox.id, "http.path", "y")
    await runtime.sandboxes.extend(team.principal, sandbox.id, "1h")
    await team.destroy(sandbox.id)
    rows = await fetch(
        runtime, f"SELECT type, data FROM valhalla.events WHERE subject = 'sandbox.{sandbox.id}' ORDER BY id"
    )
    assert [row["type"] for row in rows] == [
        "sandbox.created",
        "sandbox.running",
        "sandbox.route_linked",
        "sandbox.ttl_extended",
        "sandbox.destroying",
        "sandbox.destroyed",
    ]
    assert {row["data"]["owner"] for row in rows} == {team.owner}


async def test_counts(team: Team, runtime: Runtime) -> None:
    before = (await runtime.sandboxes.counts()).get("running", 0)
    sandbox = await team.new()
    assert (await runtime.sandboxes.counts())["running"] == before + 1
    await team.destroy(sandbox.id)
    assert (await runtime.sandboxes.counts()).get("running", 0) == before
