"""How a lane is, in the sandbox's status, and who is told when it is not well."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from tests.sandbox.plane import Team

from valhalla.runtime import Runtime
from valhalla.sandbox.routing.contracts import Event
from valhalla.sandbox.routing.ingress import Ingress


@pytest.fixture
async def ingress(runtime: Runtime) -> AsyncGenerator[Ingress]:
    made = Ingress(runtime.routing._url, runtime.routing._creds, name="watched")
    await made.start()
    yield made
    await made.stop()


async def events_of(runtime: Runtime, subject: str) -> list[tuple[str, dict[str, Any]]]:
    """Return type and data of the domain events about a subject that are about lanes or claims."""
    statement = sa.text("SELECT type, data FROM valhalla.events WHERE subject = :subject ORDER BY id")
    rows: Any = await runtime.db.read(lambda conn: conn.execute(statement, {"subject": subject}).all())
    return [(row.type, row.data) for row in rows if row.type.startswith(("lane.", "claim."))]


async def taken(runtime: Runtime, sandbox: str) -> str:
    """Take one event as the sandbox would; returns what acknowledges it."""
    link, _ = await runtime.routing.claims.connected()
    given: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    inbox = f"test.{secrets.token_hex(4)}"
    sid = link.subscribe(inbox, lambda _s, reply, _b, _body: given.done() or given.set_result(reply or ""))
    link.publish(f"$JS.API.CONSUMER.MSG.NEXT.VH_EV.s-{sandbox}", b"1", reply=inbox)
    async with asyncio.timeout(5):
        reply = await given
    link.unsubscribe(sid)
    return reply


async def test_a_lane_that_is_read_and_lags_is_told_of_once(runtime: Runtime, team: Team, ingress: Ingress) -> None:
    """Nobody is late who has never read; whoever reads and does not keep up is, until it has."""
    key, routing = f"k{secrets.token_hex(6)}", runtime.routing
    box = await team.new(routes=[("tenant", key)])
    watch, subject = routing.watch, f"sandbox.{box.id}"
    before, watch._patience = watch._patience, timedelta(0)
    try:
        await ingress.publish(Event("tenant", key, "t", b"1", f"{key}-1"))
        lane = (await runtime.sandboxes.health(team.principal, box.id)).lane
        assert lane is not None
        assert (lane.events, lane.waiting, lane.is_read, lane.is_lagging) == (1, 1, False, False)
        await routing.keeper.once()
        assert await events_of(runtime, subject) == []

        reply = await taken(runtime, box.id)
        report = await runtime.sandboxes.health(team.principal, box.id)
        assert report.lane is not None
        assert (report.lane.unacknowledged, report.lane.is_lagging, report.health) == (1, True, "degraded")
        assert "lane: 1 events unread" in " ".join(report.reasons)
        await routing.keeper.once()
        await routing.keeper.once()
        assert [kind for kind, _ in await events_of(runtime, subject)] == ["lane.lagging"]
        assert watch.lagging >= 1

        link, _ = await routing.claims.connected()
        await link.request(reply, b"+ACK")
        # as a process that begins now: it knows from the events what was told
        watch._lagging, watch._remembers = set(), False
        await routing.keeper.once()
        assert [kind for kind, _ in await events_of(runtime, subject)] == ["lane.lagging", "lane.recovered"]
    finally:
        watch._patience = before
    report = await runtime.sandboxes.health(team.principal, box.id)
    assert report.lane is not None
    assert (report.lane.waiting, report.lane.oldest_unread_seconds, report.health) == (0, None, "healthy")


async def test_dead_letters_are_told_of(runtime: Runtime, team: Team, ingress: Ingress) -> None:
    """With how many and why, and the sandbox's status has them."""
    key, routing = f"k{secrets.token_hex(6)}", runtime.routing
    box = await team.new(routes=[("tenant", key)])
    await ingress.publish(Event("tenant", key, "t", b"1", f"{key}-1"))
    link, _ = await routing.claims.connected()
    await link.request(await taken(runtime, box.id), b"+TERM cannot read it")
    async with asyncio.timeout(5):
        while not (told := await events_of(runtime, f"sandbox.{box.id}")):
            await routing.undertaker.once()
            await asyncio.sleep(0.02)
    kind, data = told[0]
    assert (kind, data["letters"], data["reason"], data["name"]) == ("lane.dead_letters", 1, "cannot read it", box.name)
    report = await runtime.sandboxes.health(team.principal, box.id)
    assert (report.lane and report.lane.dead_letters, report.health) == (1, "degraded")


async def test_an_ingress_that_is_late_is_told_of(runtime: Runtime, team: Team, ingress: Ingress) -> None:
    """By its name, whatever it is called at this start."""
    key, claims = f"k{secrets.token_hex(6)}", runtime.routing.claims
    before, claims._barrier = claims._barrier, 0.2
    name = f"deaf{secrets.token_hex(3)}"
    deaf = Ingress(runtime.routing._url, runtime.routing._creds, name=name)
    await deaf.start()
    deaf.outgoing.changed = lambda where, epoch: deaf.outgoing._barriers.append((epoch, {-1}))  # type: ignore[method-assign]
    try:
        await team.new(routes=[("tenant", key)])
        await runtime.routing.keeper.once()
        told = await events_of(runtime, f"ingress.{name}")
        assert [(kind, data["outcome"]) for kind, data in told] == [("claim.late", "fence")]
    finally:
        claims._barrier = before
        del deaf.outgoing.changed
        await deaf.stop()
