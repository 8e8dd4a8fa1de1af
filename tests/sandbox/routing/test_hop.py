"""A router puts a source's events on the lanes of their keys, in order, each once, whoever dies."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.isolation.conftest import NatsProcess
from tests.sandbox.routing.conftest import Bus

from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Misconfigured
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing import streams
from valhalla.sandbox.routing.contracts import Sizes
from valhalla.sandbox.routing.foreign import accounts, hop_stream, patterns
from valhalla.sandbox.routing.foreign.contracts import EventSource
from valhalla.sandbox.routing.foreign.hop import Hop
from valhalla.sandbox.routing.foreign.suspects import already_stored
from valhalla.sandbox.routing.lanes import next_message
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.slices.nats_accounts import StandingAccounts
from valhalla.sandbox.slices.nats_admin import NatsAdmin

SIZES = Sizes(max_bytes=64 * 2**20)
# routers wait for each other's heartbeats to end
pytestmark = pytest.mark.slow


@dataclass
class Yard:
    """A source with an account of its own, and a program that publishes there."""

    bus: Bus
    source: EventSource
    creds: str
    link: Link

    def hop(self, **more: Any) -> Hop:
        settings = {"creds": self.creds, "control": self.bus.creds, "sizes": SIZES} | more
        return Hop(self.source, self.bus.url, **settings)

    @asynccontextmanager
    async def running(self, parts: int = 16) -> AsyncGenerator[Hop]:
        hop, stop = self.hop(), asyncio.Event()
        task = asyncio.create_task(hop.run(stop))
        await eventually(lambda: len(hop.parts) >= parts)
        yield hop
        stop.set()
        await task

    async def publish(self, key: str, numbers: range, type_: str = "made") -> None:
        subject = self.source.subject.replace("{key}", key).replace("{type}", type_).replace("*", "any")
        for number in numbers:
            await self.link.store(subject, b"%d" % number)

    async def numbers(self, lane: str, key: str) -> list[int]:
        found = await self.bus.stored(f"{lane}.{self.source.kind}.{key}.>")
        return [int(one.event.data) for one in found]


async def eventually(check: Callable[[], object], within: float = 20.0) -> None:
    async with asyncio.timeout(within):
        while not check():
            await asyncio.sleep(0.02)


async def make(bus: Bus, **more: Any) -> Yard:
    name = f"h{secrets.token_hex(4)}"
    fields: dict[str, Any] = {"subject": f"{name}.{{key}}.{{type}}", "kind": name, "account": name, "way": "router"}
    source = EventSource(name=name, **(fields | more))
    claims, _ = accounts.amended(accounts.fresh(bus.cell, name), bus.cell, [source.kind], {})
    await StandingAccounts(bus.admin, bus.operator).put(claims)
    creds = accounts.credentials(bus.cell, source, "account")
    return Yard(bus, source, creds, await Link.open(bus.url, creds, name="publisher"))


async def unmake(yard: Yard) -> None:
    await yard.link.close()
    public = accounts.key_of(yard.bus.cell, yard.source.account)
    await yard.bus.admin.purge_account(public)
    await yard.bus.admin.delete_accounts([public])


@pytest.fixture
async def yard(bus: Bus) -> AsyncGenerator[Yard]:
    made = await make(bus)
    yield made
    await unmake(made)


async def test_events_go_where_their_key_is(yard: Yard) -> None:
    """Production's and a sandbox's, in the order of the source, and to the other side when the claim returned."""
    claims, sandbox, kind = yard.bus.claims(), new_id(), yard.source.kind
    async with yard.running() as hop:
        await yard.publish("a", range(50))
        await yard.publish("b", range(50))
        await eventually(lambda: hop.moved == 100)
        await yard.bus.claim(claims, "a", sandbox, kind=kind)
        await yard.publish("a", range(50, 100))
        await eventually(lambda: hop.moved == 150)
    assert await yard.numbers("ev.p", "a") == list(range(50))
    assert await yard.numbers(f"ev.s.{sandbox}", "a") == list(range(50, 100))
    assert await yard.numbers("ev.p", "b") == list(range(50))
    await claims.close()


async def test_what_is_moved_is_not_moved_again(yard: Yard) -> None:
    """A router that ends says how far it was; the next one begins there, and nothing waits for it."""
    async with yard.running() as hop:
        await yard.publish("a", range(20))
        await eventually(lambda: hop.moved == 20)
    async with yard.running() as hop:
        await yard.publish("a", range(20, 30))
        await eventually(lambda: hop.moved >= 10)
        assert hop.moved == 10
    found = await hop_stream.positions(yard.link, hop_stream.name_of(yard.source))
    assert len(found) == 16
    assert all(one.stored == one.sent and len(one.consumers) == 1 for one in found.values())
    await hop_stream.trim(yard.link, hop_stream.name_of(yard.source))
    state = (await yard.link.api(f"STREAM.INFO.{hop_stream.name_of(yard.source)}"))["state"]
    assert state["messages"] <= 30
    assert await yard.numbers("ev.p", "a") == list(range(30))


async def test_several_share_the_keys(yard: Yard) -> None:
    """Each part has one router, and when one ends the other has all of them."""
    async with yard.running(8) as one:
        async with yard.running(8) as other:
            await eventually(lambda: len(one.parts) == 8 and len(other.parts) == 8)
            assert not one.parts.keys() & other.parts.keys()
            for key in range(40):
                await yard.publish(f"k{key}", range(5))
            await eventually(lambda: one.moved + other.moved >= 200)
            assert one.moved
            assert other.moved
        await eventually(lambda: len(one.parts) == 16)
        for key in range(40):
            await yard.publish(f"k{key}", range(5, 10))
        await eventually(lambda: one.lag == 0 and one.moved + other.moved >= 400)
    assert [await yard.numbers("ev.p", f"k{key}") for key in range(40)] == [list(range(10))] * 40


async def test_a_stream_that_exists_is_followed_from_now_on(bus: Bus) -> None:
    """What it holds its readers have had; the subject that was published on comes along where it says more."""
    name = f"h{secrets.token_hex(4)}"
    yard = await make(bus, subject=f"{name}.*.{{key}}.sold", stream="OWN")
    await yard.link.api("STREAM.CREATE.OWN", {"name": "OWN", "subjects": [f"{name}.>"], "storage": "memory"})
    await yard.publish("a", range(5))
    await asyncio.sleep(0.05)
    async with yard.running() as hop:
        await yard.publish("a", range(5, 8))
        await eventually(lambda: hop.moved >= 3)
    found = await bus.stored(f"ev.p.{yard.source.kind}.a.>")
    assert [int(one.event.data) for one in found] == [5, 6, 7]
    assert (found[0].event.type, found[0].event.extensions["natssubject"]) == (f"{name}-sold", f"{name}.any.a.sold")
    await unmake(yard)


async def test_what_has_no_lane_is_a_dead_letter_and_stops_nothing(yard: Yard) -> None:
    """A key that is too long: kept with its reason, and what comes after it goes on."""
    async with yard.running() as hop:
        await yard.publish("x" * 200, range(1))
        await yard.publish("a", range(3))
        await eventually(lambda: hop.moved == 4)
        assert hop.buried == 1
    message = await next_message(yard.bus.link, "VH_DEAD", 1, f"dl.h.{yard.source.name}")
    assert message is not None
    assert b"a key has 1 to 128 characters" in message[2]
    assert await yard.numbers("ev.p", "a") == [0, 1, 2]


async def test_what_was_stored_long_ago_is_known(yard: Yard) -> None:
    """The stream forgets ids after two minutes; the newest event of each key and type does not."""
    async with yard.running() as hop:
        await yard.publish("a", range(10))
        await yard.publish("b", range(10), type_="other")
        await eventually(lambda: hop.moved == 20)
    stream = hop_stream.name_of(yard.source)
    generation = await hop_stream.ensure(yard.link, yard.source, SIZES, now=datetime.now(UTC))
    reader = patterns.Reader(patterns.parse(yard.source.subject))
    await yard.publish("a", range(10, 12))
    found: set[int] = set()
    for part in range(16):
        found |= await already_stored(
            yard.link, yard.bus.link, stream, patterns.part_filter(part), hop_stream.Position(3, 22), reader,
            yard.source.kind, generation,
        )  # fmt: skip
    assert found == set(range(4, 21))


async def test_a_source_that_was_changed_says_what_to_do(yard: Yard) -> None:
    """A stream that was cut otherwise would lose or double events; it is not used."""
    async with yard.running():
        pass
    other = EventSource(yard.source.name, "other.{key}", yard.source.kind, yard.source.account, way="router")
    with pytest.raises(Misconfigured, match="other subjects"):
        await hop_stream.ensure(yard.link, other, SIZES, now=datetime.now(UTC))


async def test_mappings_and_positions_outlive_the_server(tmp_path: Path) -> None:
    """Killed and started again, it maps what it mapped, and a router goes on where it was."""
    (tmp_path / "nats").mkdir()
    server = NatsProcess(tmp_path / "nats", CellKey.parse("m" * 43), {})
    server.start()
    operator, control = natsauth.operator_key(server.cell), natsauth.control_creds(server.cell)
    admin = NatsAdmin(server.url, operator, natsauth.system_creds(server.cell), timeout=2)
    source = EventSource("orders", "orders.{key}.{type}", "tenant")
    pair = patterns.mapping(source, "acme")
    assert pair is not None
    claims, _ = accounts.amended(accounts.fresh(server.cell, "apps"), server.cell, ["tenant"], dict([pair]))
    await StandingAccounts(admin, operator).put(claims)
    lanes = await Link.open(server.url, control, name="lanes")
    await streams.ensure(lanes, SIZES)
    creds = accounts.credentials(server.cell, source, "publisher")
    hop = Hop(
        source, server.url, creds=accounts.credentials(server.cell, source, "account"), control=control, sizes=SIZES
    )
    stop = asyncio.Event()
    task = asyncio.create_task(hop.run(stop))
    await eventually(lambda: len(hop.parts) == 16)
    for numbers in (range(5), range(5, 10)):
        link = await Link.open(server.url, creds, name="publisher")
        for number in numbers:
            await link.store("orders.acme.made", b"%d" % number)
        await link.close()
        await eventually(lambda last=numbers[-1]: hop.moved > last)
        if numbers[-1] < 9:
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
            await eventually(lambda: hop.sessions == 2 and len(hop.parts) == 16)
    stop.set()
    await task
    lanes = await Link.open(server.url, control, name="lanes")
    state = (await lanes.api("STREAM.INFO.VH_EV", {"subjects_filter": ">"}))["state"]
    assert state["subjects"] == {"ev.p.tenant.acme.made": 10}
    await lanes.close()
    await admin.close()
    server.stop()
