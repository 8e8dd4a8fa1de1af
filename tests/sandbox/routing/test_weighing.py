"""How many bytes lanes hold, as the server counts them, and what goes when they hold too many."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Servers
from tests.isolation.conftest import NatsProcess
from tests.sandbox.routing.conftest import Bus, account

from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Unavailable
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing import streams, weighing
from valhalla.sandbox.routing.contracts import STREAM, Sizes
from valhalla.sandbox.routing.lanes import drop_key
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.routing.weighing import Scales, sizes

QUOTA = 16_000
BIG = 64 * 2**20


@pytest.fixture(scope="module")
async def own(servers: Servers) -> AsyncGenerator[Bus]:
    """An account whose stream nobody else writes to."""
    async with account(servers) as made:
        yield made


@pytest.fixture
async def link(own: Bus) -> AsyncGenerator[Link]:
    """A connection for one test, and an empty stream."""
    opened = await Link.open(own.url, own.creds, name="weighing")
    yield opened
    await opened.close()
    await own.link.api(f"STREAM.PURGE.{STREAM}")


@pytest.fixture
def lane() -> str:
    return new_id()


async def anew(link: Link, **more: Any) -> None:
    """Make the stream of lanes once more; its numbers begin again."""
    (config,) = [one for one in streams.configs(Sizes(max_bytes=BIG)) if one["name"] == STREAM]
    while True:
        await link.api(f"STREAM.DELETE.{STREAM}")
        await link.api(f"STREAM.CREATE.{STREAM}", config | more)
        # server 2.15 sometimes finds what it has not yet removed of the old one
        if not (await state(link))["last_seq"]:
            return


async def put(link: Link, lane: str, size: int = 1000, key: str = "k", **headers: str) -> int:
    return await link.store(f"ev.s.{lane}.tenant.{key}.t", b"x" * size, headers=headers or None)


async def many(link: Link, lane: str, count: int, size: int = 10) -> None:
    for _ in range(count):
        link.publish(f"ev.s.{lane}.tenant.k.t", b"x" * size)
    # answered behind all of them
    await put(link, lane, size)


async def state(link: Link) -> Mapping[str, Any]:
    return (await link.api(f"STREAM.INFO.{STREAM}"))["state"]


async def on(link: Link, lane: str) -> list[int]:
    """Return the sequences of what a lane holds."""
    return [sequence async for _, sequence, _ in sizes(link, f"ev.s.{lane}.>", 1)]


async def looked(link: Link, quota: int = BIG) -> Scales:
    scales = Scales(quota)
    await scales.look(link)
    return scales


async def test_a_lane_weighs_what_the_server_stores(link: Link, lane: str) -> None:
    """Subject, headers and body, to the byte: what a quota says is what the disk holds."""
    other = new_id()
    await put(link, lane, 0)
    await put(link, lane, 12345, **{"ce-id": "1", "ce-time": "now"})
    await put(link, lane, 7, "k" * 200, x="")
    await put(link, other, 1, a="b" * 5000)
    scales = await looked(link)
    assert scales.weight(lane) + scales.weight(other) == (await state(link))["bytes"]
    assert 5000 < scales.weight(other) < 5200
    # production's lane is no sandbox's
    before = scales.weight(lane)
    await link.store("ev.p.tenant.k.t", b"x" * 5000)
    await scales.look(link)
    assert scales.weight(lane) == before


@pytest.mark.parametrize("name", ["Nats-Msg-Size", "x-Nats-Msg-Size", "note"])
@pytest.mark.parametrize("value", ["1", "-99999", "junk", "Nats-Msg-Size: 5"])
async def test_a_publisher_cannot_say_what_an_event_weighs(link: Link, lane: str, name: str, value: str) -> None:
    await put(link, lane, 3000, **{name: value})
    assert (await looked(link)).weight(lane) == (await state(link))["bytes"]


async def test_only_what_is_new_is_looked_at(link: Link, lane: str) -> None:
    scales = await looked(link)
    assert scales.weight(lane) == 0
    await put(link, lane)
    await scales.look(link)
    one = scales.weight(lane)
    await scales.look(link)
    assert scales.weight(lane) == one
    await put(link, lane)
    await put(link, new_id(), 5000)
    await scales.look(link)
    assert scales.weight(lane) == 2 * one
    # no reader is left at the server
    assert not (await link.api(f"CONSUMER.NAMES.{STREAM}"))["consumers"]


@pytest.mark.parametrize("count", [999, 1000, 1001, 2000])
async def test_nothing_is_left_out_where_one_batch_ends(link: Link, lane: str, count: int) -> None:
    await many(link, lane, count - 1)
    assert (await looked(link)).weight(lane) == (await state(link))["bytes"]
    assert len(await on(link, lane)) == count


async def test_a_long_look_goes_on_at_the_next(link: Link, lane: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weighing, "_MOST", 1500)
    await many(link, lane, 3500)
    scales, seen = Scales(BIG), list[int]()
    for _ in range(3):
        await scales.look(link)
        seen.append(scales.weight(lane))
    assert seen[0] < seen[1] < seen[2] == (await state(link))["bytes"]


async def test_a_lane_within_its_quota_is_left_alone(link: Link, lane: str) -> None:
    for _ in range(10):
        await put(link, lane)
    scales = await looked(link)
    scales.quota = scales.weight(lane)
    assert await scales.cut(link, lane) == 0
    assert await scales.cut(link, new_id()) == 0
    assert len(await on(link, lane)) == 10


@pytest.mark.parametrize("size", [10, 1000, 9000])
async def test_the_oldest_of_a_lane_over_its_quota_go(link: Link, lane: str, size: int) -> None:
    """No more than a sixteenth, or one event, too many; and none of a neighbour's."""
    other = new_id()
    count = 2 * QUOTA // size
    for _ in range(min(count, 40)):
        await put(link, lane, size)
        await put(link, other, size)
    await many(link, lane, max(count - 40, 0), size)
    before, neighbours = await on(link, lane), await on(link, other)
    scales = await looked(link, QUOTA)
    weight = scales.weight(lane)
    assert weight > QUOTA

    went = await scales.cut(link, lane)
    after = await on(link, lane)
    assert after == before[went:]
    assert len(after) >= 1
    left = (await looked(link)).weight(lane)
    assert scales.weight(lane) == left
    each = weight // len(before) + 1
    assert QUOTA - max(QUOTA // 16, each) - each <= left <= QUOTA
    assert await on(link, other) == neighbours
    assert await scales.cut(link, lane) == 0


async def test_what_is_gone_does_not_cost_what_is_there(link: Link, lane: str) -> None:
    """A lane seems too heavy by what was dropped from it: it is weighed anew before anything goes."""
    for number in range(20):
        await put(link, lane, key="mine" if number % 2 else "dropped")
    scales = await looked(link, QUOTA)
    await drop_key(link, lane, "tenant", "dropped")
    await scales.look(link)
    assert scales.weight(lane) > QUOTA
    assert await scales.cut(link, lane) == 0
    assert len(await on(link, lane)) == 10
    assert scales.weight(lane) == (await state(link))["bytes"]


async def test_what_the_stream_forgot_weighs_no_more(link: Link, lane: str) -> None:
    """What went because it was old is known without looking at a lane again; a lane of which all went is forgotten."""
    old = new_id()
    for _ in range(5):
        await put(link, old, 2000)
    kept = [await put(link, lane, 2000) for _ in range(20)]
    scales = await looked(link, QUOTA)
    before = scales.weight(lane)
    await link.api(f"STREAM.PURGE.{STREAM}", {"seq": kept[10]})
    await scales.look(link)
    assert scales.weight(old) == 0
    assert scales.weight(lane) == before // 2 == (await state(link))["bytes"]


async def test_a_lane_that_is_emptied_is_cut_no_more(link: Link, lane: str) -> None:
    for _ in range(20):
        await put(link, lane)
    await put(link, new_id())
    scales = await looked(link, QUOTA)
    await link.api(f"STREAM.PURGE.{STREAM}", {"filter": f"ev.s.{lane}.>"})
    assert await scales.cut(link, lane) == 0
    assert scales.weight(lane) == 0
    await put(link, lane)
    await scales.look(link)
    assert 1000 < scales.weight(lane) < 1200


@pytest.mark.parametrize("count", [2, 5, 12])
async def test_another_stream_is_weighed_from_its_beginning(own: Bus, link: Link, lane: str, count: int) -> None:
    """Nothing of the old one counts, however many events the new one has at the next look."""
    for _ in range(5):
        await put(link, lane, 3000)
    scales = await looked(link)
    await anew(own.link)
    for _ in range(count):
        await put(link, lane)
    await scales.look(link)
    assert scales.weight(lane) == (await state(link))["bytes"]


async def test_a_connection_that_is_lost_costs_no_knowledge(own: Bus, link: Link, lane: str) -> None:
    """A lane that is too heavy is known to be so until it was cut."""
    for _ in range(30):
        await put(link, lane)
    scales = await looked(link, QUOTA)
    before = scales.weight(lane)
    link.abort()
    for work in (scales.look(link), scales.cut(link, lane)):
        with pytest.raises(Unavailable):
            await work
    assert scales.weight(lane) == before
    await scales.look(own.link)
    assert await scales.cut(own.link, lane) > 10
    assert scales.weight(lane) <= QUOTA


async def test_a_refused_cut_is_tried_again(own: Bus, link: Link, lane: str) -> None:
    await anew(own.link, deny_purge=True)
    for _ in range(30):
        await put(link, lane)
    scales = await looked(link, QUOTA)
    before = scales.weight(lane)
    for _ in range(2):
        with pytest.raises(Unavailable, match="cannot be cut"):
            await scales.cut(link, lane)
        assert scales.weight(lane) == before
    await anew(own.link)


async def test_a_look_that_is_broken_off_is_no_whole_one(link: Link, lane: str) -> None:
    await many(link, lane, 2500)
    found = sizes(link, f"ev.s.{lane}.>", 1)
    await anext(found)
    for name in (await link.api(f"CONSUMER.NAMES.{STREAM}"))["consumers"]:
        await link.api(f"CONSUMER.DELETE.{STREAM}.{name}")
    with pytest.raises(Unavailable):
        async for _ in found:
            pass


@pytest.mark.slow
async def test_a_server_that_was_killed_and_is_back(tmp_path: Path, lane: str) -> None:
    """What was weighed before still counts once, and what came since is weighed."""
    server = NatsProcess(tmp_path, CellKey.parse("t" * 43))
    server.start()
    creds = natsauth.control_creds(server.cell)
    try:
        link = await Link.open(server.url, creds, name="weighing")
        await streams.ensure(link, Sizes())
        for _ in range(10):
            await put(link, lane)
        scales = await looked(link, QUOTA)
        server.stop()
        with pytest.raises(Unavailable):
            await scales.look(link)
        server.start()
        link = await Link.open(server.url, creds, name="weighing", timeout=10)
        for _ in range(10):
            await put(link, lane)
        await scales.look(link)
        assert scales.weight(lane) == (await state(link))["bytes"]
        assert await scales.cut(link, lane) > 0
        assert scales.weight(lane) == (await state(link))["bytes"] <= QUOTA
        await link.close()
    finally:
        server.stop()
