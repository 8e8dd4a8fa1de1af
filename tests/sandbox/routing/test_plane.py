"""Routes of sandboxes as their owners have them: they hold when the control plane says so, and end with the sandbox."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from tests.sandbox.plane import Team, set_row

from valhalla.runtime import Runtime
from valhalla.sandbox.contracts import Route
from valhalla.sandbox.errors import RouteTaken
from valhalla.sandbox.routing.contracts import Event, Record
from valhalla.sandbox.routing.errors import DeadLetterGone, RouteOverlaps
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.sandbox.routing.lanes import drop_key, open_lane
from valhalla.sandbox.routing.table import encode


@pytest.fixture
async def ingress(runtime: Runtime) -> AsyncGenerator[Ingress]:
    """An ingress beside the control plane, as a process of its own would have one."""
    made = Ingress(runtime.routing._url, runtime.routing._creds, name="beside")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def key() -> str:
    return f"k{secrets.token_hex(6)}"


def event(key: str, number: int, source: str = "tenant") -> Event:
    return Event(source, key, "t", b'{"n": %d}' % number, f"{key}-{number}")


def heavy(key: str, number: int) -> Event:
    return replace(event(key, number), data=b"x" * 2000)


async def lane_of(runtime: Runtime, sandbox: str) -> list[str]:
    return [one.event.id for one in await runtime.routing.reader.page(sandbox, after=0, limit=100)]


async def test_a_route_holds_from_its_link_to_its_unlink(
    runtime: Runtime, team: Team, ingress: Ingress, key: str
) -> None:
    """Before and after it the events are production's, and nobody waits for a cache to end."""
    box = await team.new()
    service = runtime.sandboxes
    homes = [(await ingress.publish(event(key, 1))).sandbox]
    await service.link(team.principal, box.id, "tenant", key)
    homes.append((await ingress.publish(event(key, 2))).sandbox)
    await service.link(team.principal, box.id, "tenant", key, mode="mirror")
    homes.append((await ingress.publish(event(key, 3))).sandbox)
    await service.unlink(team.principal, box.id, "tenant", key)
    homes.append((await ingress.publish(event(key, 4))).sandbox)

    assert homes == [None, box.id, None, None]
    assert await lane_of(runtime, box.id) == [f"{key}-2", f"{key}-3"]


async def test_a_route_that_is_asked_for_at_creation_holds_at_once(
    runtime: Runtime, team: Team, ingress: Ingress, key: str
) -> None:
    """Whoever has the sandbox has its events, until it is destroyed."""
    box = await team.new(routes=[("tenant", key)])
    assert (await ingress.publish(event(key, 1))).sandbox == box.id
    await team.destroy(box.id)
    assert (await ingress.publish(event(key, 2))).sandbox is None


async def test_routes_in_bulk_are_all_linked_or_none(
    runtime: Runtime, team: Team, stranger: Team, ingress: Ingress, key: str
) -> None:
    """One that another has makes the whole request fail, and nothing has moved."""
    mine, theirs = await team.new(), await stranger.new()
    await runtime.sandboxes.link(stranger.principal, theirs.id, "tenant", f"{key}-b")
    wanted = [Route("tenant", f"{key}-a"), Route("tenant", f"{key}-b")]
    with pytest.raises(RouteTaken):
        await runtime.sandboxes.link_all(team.principal, mine.id, wanted)
    assert (await team.get(mine.id)).routes == ()
    assert (await ingress.publish(event(f"{key}-a", 1))).sandbox is None


async def test_patterns_that_overlap_are_refused(runtime: Runtime, team: Team, stranger: Team, key: str) -> None:
    """A subject has one sandbox; one's own patterns may overlap."""
    mine, theirs = await team.new(), await stranger.new()
    service = runtime.sandboxes
    await service.link(team.principal, mine.id, "subject", f"{key}.*.made")
    with pytest.raises(RouteOverlaps):
        await service.link(stranger.principal, theirs.id, "subject", f"{key}.eu.>")
    await service.link(team.principal, mine.id, "subject", f"{key}.eu.>")
    await service.link(stranger.principal, theirs.id, "subject", f"{key}.eu")


async def test_the_keeper_brings_right_what_a_crash_left(
    runtime: Runtime, team: Team, ingress: Ingress, key: str
) -> None:
    """A claim that was written down and never made, one of nobody's, and one held for nobody."""
    box, routing = await team.new(), runtime.routing
    await runtime.db.run(_insert, box.id, key)
    link, _ = await routing.claims.connected()
    nobody, held = f"{key}-nobody", f"{key}-held"
    await link.store(f"rt.tenant.{nobody}", encode(Record("tenant", "z" * 16)))
    await link.store(f"rt.tenant.{held}", encode(Record("tenant", held=True)))
    waiting = asyncio.create_task(ingress.publish(event(held, 1)))
    # what is found once may be somebody's who is at work
    await routing.keeper.once()
    assert await routing.keeper.once() >= 3

    assert (await ingress.publish(event(key, 1))).sandbox == box.id
    assert (await ingress.publish(event(nobody, 1))).sandbox is None
    assert (await waiting).sandbox is None


def _insert(conn: Any, sandbox: str, key: str) -> None:
    from valhalla.kernel.clock import Clock
    from valhalla.sandbox import store

    store.link(conn, sandbox, Route("tenant", key), at=Clock().now())


async def test_a_lane_is_closed_after_its_sandbox(runtime: Runtime, team: Team, ingress: Ingress, key: str) -> None:
    """Nothing of an ended sandbox is left in the stream."""
    box = await team.new(routes=[("tenant", key)])
    await ingress.publish(event(key, 1))
    await team.destroy(box.id)
    await runtime.routing.keeper.once()

    assert await lane_of(runtime, box.id) == []
    assert box.id not in runtime.routing.keeper.lanes


async def test_a_lane_keeps_its_quota(runtime: Runtime, team: Team, ingress: Ingress, key: str) -> None:
    """The newest stay, and a neighbour's lane is left alone."""
    box, other = await team.new(routes=[("tenant", key)]), await team.new(routes=[("tenant", f"{key}-2")])
    for number in range(5):
        await ingress.publish(event(key, number))
    await ingress.publish(event(f"{key}-2", 0))
    keeper = runtime.routing.keeper
    before, keeper._sizes = keeper._sizes, replace(keeper._sizes, per_sandbox=2)
    try:
        await keeper.once()
    finally:
        keeper._sizes = before

    assert await lane_of(runtime, box.id) == [f"{key}-3", f"{key}-4"]
    assert len(await lane_of(runtime, other.id)) == 1


async def test_a_lane_is_bounded_in_bytes(runtime: Runtime, team: Team, ingress: Ingress, key: str) -> None:
    """The newest stay, the owner is told, the status says how full it is; a neighbour's lane is left alone."""
    box, other = await team.new(routes=[("tenant", key)]), await team.new(routes=[("tenant", f"{key}-2")])
    for number in range(5):
        await ingress.publish(heavy(key, number))
    await ingress.publish(heavy(f"{key}-2", 0))
    scales, watch = runtime.routing.keeper.scales, runtime.routing.watch
    quota, byte_quota = scales.quota, watch._byte_quota
    await runtime.routing.keeper.once()
    lane = (await runtime.sandboxes.health(team.principal, box.id)).lane
    assert lane is not None
    assert 10_000 < lane.bytes < 15_000
    assert lane.byte_quota == 64 * 2**20
    scales.quota, watch._byte_quota = 6000, 5000
    try:
        await runtime.routing.keeper.once()
        assert await lane_of(runtime, box.id) == [f"{key}-3", f"{key}-4"]
        assert len(await lane_of(runtime, other.id)) == 1
        report = await runtime.sandboxes.health(team.principal, box.id)
        assert "MB, then the oldest events go" in " ".join(report.reasons)
        await ingress.publish(heavy(key, 5))
        await runtime.routing.keeper.once()
        assert await lane_of(runtime, box.id) == [f"{key}-4", f"{key}-5"]
    finally:
        scales.quota, watch._byte_quota = quota, byte_quota
    statement = sa.text("SELECT data FROM valhalla.events WHERE subject = :subject AND type = 'lane.trimmed'")
    rows: Any = await runtime.db.read(lambda conn: conn.execute(statement, {"subject": f"sandbox.{box.id}"}).all())
    assert rows[0].data["removed"] == 3


async def test_events_that_are_gone_do_not_weigh(runtime: Runtime, team: Team, ingress: Ingress, key: str) -> None:
    """What an unlink dropped counts no more when a lane seems too heavy: nothing else goes for it."""
    box = await team.new(routes=[("tenant", key), ("tenant", f"{key}-2")])
    for number in range(3):
        await ingress.publish(heavy(key, number))
    await ingress.publish(heavy(f"{key}-2", 9))
    scales = runtime.routing.keeper.scales
    await runtime.routing.keeper.once()
    link, _ = await runtime.routing.claims.connected()
    await drop_key(link, box.id, "tenant", key)
    quota, scales.quota = scales.quota, 6000
    try:
        assert scales.weight(box.id) > 6000
        await runtime.routing.keeper.once()
    finally:
        scales.quota = quota
    assert 0 < scales.weight(box.id) < 4000
    assert await lane_of(runtime, box.id) == [f"{key}-2-9"]
    await drop_key(link, box.id, "tenant", f"{key}-2")
    await runtime.routing.keeper.once()
    assert scales.weight(box.id) == 0


async def test_what_a_sandbox_gives_up_is_kept_and_replayed(
    runtime: Runtime, team: Team, ingress: Ingress, key: str
) -> None:
    """A terminated event is a dead letter with its reason; replayed, it is on the lane again, once."""
    box, routing = await team.new(routes=[("tenant", key)]), runtime.routing
    stored = await ingress.publish(event(key, 1))
    link, _ = await routing.claims.connected()
    await open_lane(link, box.id)
    given: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    link.subscribe("test.pull", lambda _s, reply, _b, _body: given.set_result(reply or ""))
    link.publish(f"$JS.API.CONSUMER.MSG.NEXT.VH_EV.s-{box.id}", b"1", reply="test.pull")
    await link.request(await given, b"+TERM cannot read it")
    async with asyncio.timeout(5):
        while not (letters := await routing.reader.dead(box.id, after=0, limit=10)):
            await routing.undertaker.once()
            await asyncio.sleep(0.02)

    assert [(one.received.sequence, one.reason, one.received.event) for one in letters] == [
        (stored.sequence, "cannot read it", letters[0].received.event)
    ]
    assert letters[0].received.event.data == b'{"n": 1}'
    again = await routing.reader.replay(box.id, letters[0].number)
    assert [one.sequence for one in await routing.reader.page(box.id, after=0, limit=9)] == [stored.sequence, again]
    with pytest.raises(DeadLetterGone):
        await routing.reader.replay(box.id, letters[0].number)


async def test_extending_a_sandbox_extends_its_claims(runtime: Runtime, team: Team, ingress: Ingress, key: str) -> None:
    """The record lives as long as the sandbox, and no longer."""
    box = await team.new(routes=[("tenant", key)], ttl="1h")
    first = ingress.table.way("tenant", key).epoch
    extended = await runtime.sandboxes.extend(team.principal, box.id, "1h")
    record = next(record for _, found, record, _ in ingress.table.claimed() if found == key)

    assert ingress.table.way("tenant", key).epoch > first
    assert record.until == pytest.approx(extended.sandbox.expires_at.timestamp(), abs=0.01)


async def test_a_sandbox_that_expires_loses_its_routes(
    runtime: Runtime, team: Team, ingress: Ingress, key: str
) -> None:
    """The reaper gives back what nobody unlinked."""
    from datetime import timedelta

    box = await team.new(routes=[("tenant", key)])
    assert (await ingress.publish(event(key, 1))).sandbox == box.id
    await set_row(runtime, box.id, expires_at=box.created_at - timedelta(minutes=5))
    await runtime.reaper.once()
    assert (await ingress.publish(event(key, 2))).sandbox is None
