"""What of a lane nobody has read: what its consumer was not acknowledged, less what bots were sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest
from tests.sandbox.routing.conftest import Bus

from valhalla.kernel.ids import new_id
from valhalla.sandbox.routing.contracts import BOTS_STREAM, STREAM
from valhalla.sandbox.routing.lags import Lag, lag_of, lane_lags, oldest_unread
from valhalla.sandbox.routing.lanes import close_lane, find_message, open_lane

# the first two are of shard 0 of 2, the third is of shard 1
GUILDS = (str(2 << 22), str(4 << 22), str(1 << 22))


@pytest.fixture
async def box(bus: Bus) -> AsyncGenerator[str]:
    made = new_id()
    await open_lane(bus.link, made)
    yield made
    await close_lane(bus.link, made)


async def came(bus: Bus, box: str, key: str, source: str = "discord") -> int:
    return await bus.link.store(f"ev.s.{box}.{source}.{key}.t", b"{}")


async def sent(bus: Bus, box: str, upto: int, shard: int = 0, shards: int = 1) -> None:
    """As the gateway of bots notes it."""
    await bus.link.store(f"bt.{box}.{shard}.{shards}", b"%d" % upto)


async def taken(bus: Bus, box: str) -> str:
    """Take one event as a program of the sandbox; returns what acknowledges it."""
    given: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    inbox = f"{bus.link.inbox}.t"
    sid = bus.link.subscribe(inbox, lambda _s, reply, _b, _body: given.done() or given.set_result(reply or ""))
    bus.link.publish(f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.s-{box}", b"1", reply=inbox)
    async with asyncio.timeout(5):
        reply = await given
    bus.link.unsubscribe(sid)
    return reply


async def oldest(bus: Bus, box: str) -> int | None:
    """Return the sequence of the oldest event that nobody has read."""
    at = await oldest_unread(bus.link, box, await lag_of(bus.link, box))
    if at is None:
        return None
    # instants are kept to the microsecond, and no two events were stored in one
    sequence = 0
    while (found := await find_message(bus.link, STREAM, f"ev.s.{box}.>", sequence=sequence + 1)) is not None:
        sequence = found.sequence
        if found.stored_at is not None and abs(found.stored_at - at) < timedelta(microseconds=10):
            return sequence
    return 0


async def waiting(bus: Bus, box: str) -> int:
    return (await lag_of(bus.link, box)).waiting


async def test_without_a_bot_the_lanes_consumer_says_it(bus: Bus, box: str) -> None:
    first = await came(bus, box, GUILDS[0])
    await came(bus, box, "acme", "tenant")
    assert await lag_of(bus.link, box) == (await lane_lags(bus.link))[box] == Lag(waiting=2)
    assert await oldest(bus, box) == first


async def test_what_a_bot_was_sent_does_not_wait(bus: Bus, box: str) -> None:
    numbers = [await came(bus, box, GUILDS[n % 3]) for n in range(6)]
    assert await waiting(bus, box) == 6
    await sent(bus, box, numbers[3])
    assert await waiting(bus, box) == 2
    assert await oldest(bus, box) == numbers[4]
    await sent(bus, box, numbers[-1])
    assert (await lag_of(bus.link, box)).unread == 0
    assert await oldest(bus, box) is None
    await came(bus, box, GUILDS[1])
    assert await waiting(bus, box) == 1


async def test_events_of_others_wait_for_the_sandboxs_programs(bus: Bus, box: str) -> None:
    """A bot is sent what is Discord's, whatever lies in between on the lane."""
    await came(bus, box, GUILDS[0])
    order = await came(bus, box, "acme", "tenant")
    last = await came(bus, box, GUILDS[0])
    await sent(bus, box, last)
    assert await waiting(bus, box) == 1
    assert await oldest(bus, box) == order


async def test_what_is_taken_by_both_counts_once(bus: Bus, box: str) -> None:
    """A program that reads beside the bot owes an acknowledgement for what it took, and for nothing else."""
    numbers = [await came(bus, box, GUILDS[0]) for _ in range(4)]
    reply = await taken(bus, box)
    await sent(bus, box, numbers[2])
    lag = await lag_of(bus.link, box)
    assert (lag.waiting, lag.unacknowledged, lag.is_read) == (1, 1, True)
    assert await oldest(bus, box) == numbers[0]
    await bus.link.request(reply, b"+ACK")
    assert await oldest(bus, box) == numbers[3]
    # it goes on where it was, and is ahead of the bot then
    for _ in range(3):
        await bus.link.request(await taken(bus, box), b"+ACK")
    assert (await lag_of(bus.link, box)).unread == 0


async def test_each_shard_has_its_own_guilds(bus: Bus, box: str) -> None:
    numbers = [await came(bus, box, guild) for guild in GUILDS]
    await sent(bus, box, numbers[-1], 0, 2)
    assert await waiting(bus, box) == 1
    assert await oldest(bus, box) == numbers[2]
    await sent(bus, box, numbers[-1], 1, 2)
    assert await waiting(bus, box) == 0
    await came(bus, box, "nobody")
    # what is of no guild is the first shard's
    last = await came(bus, box, "nobody")
    await sent(bus, box, last - 1, 0, 2)
    await sent(bus, box, last, 1, 2)
    assert await waiting(bus, box) == 1


async def test_nothing_is_left_at_the_server(bus: Bus, box: str) -> None:
    await sent(bus, box, await came(bus, box, GUILDS[0]) - 1)
    assert await waiting(bus, box) == 1
    names = (await bus.link.api(f"CONSUMER.NAMES.{STREAM}"))["consumers"]
    assert not [name for name in names if name.startswith("g-")]
    await close_lane(bus.link, box)
    assert not (await bus.link.api(f"STREAM.INFO.{BOTS_STREAM}", {"subjects_filter": f"bt.{box}.>"}))["state"].get(
        "subjects"
    )
