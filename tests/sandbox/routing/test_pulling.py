"""Pulling from a stream: everything once and in order, no more at a time than asked for, and an end that is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from tests.sandbox.routing.conftest import Bus

from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Unavailable
from valhalla.sandbox.routing.contracts import STREAM
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.routing.pulling import Message, Pull


@pytest.fixture
async def link(bus: Bus) -> AsyncGenerator[Link]:
    opened = await Link.open(bus.url, bus.creds, name="pulling")
    yield opened
    await opened.close()


@pytest.fixture
async def lane(bus: Bus) -> AsyncGenerator[str]:
    """A lane of this test's: what its subjects begin with."""
    made = f"ev.s.{new_id()}.tenant.k"
    yield made
    await bus.link.api(f"STREAM.PURGE.{STREAM}", {"filter": f"{made}.>"})


async def fill(link: Link, lane: str, count: int, size: int = 0) -> None:
    for number in range(count - 1):
        link.publish(f"{lane}.t", b"%d" % number + b" " * size)
    # answered behind all of them
    await link.store(f"{lane}.t", b"%d" % (count - 1) + b" " * size)


def numbers(messages: list[Message]) -> list[int]:
    return [int(each.body) for each in messages]


async def whole(pull: Pull, most: int) -> list[Message]:
    found: list[Message] = []
    while pull.pending and (taken := await pull.take(most)):
        assert len(taken) <= most
        found += taken
    return found


@pytest.mark.parametrize("seconds", [0.0, 20.0])
@pytest.mark.parametrize(("count", "most"), [(1, 100), (99, 100), (100, 100), (250, 100), (30, 1)])
async def test_everything_comes_once_and_in_order(link: Link, lane: str, count: int, most: int, seconds: float) -> None:
    """Wherever one request ends: that it was served to its end is no end of the next."""
    await fill(link, lane, count)
    pull = await Pull.open(link, STREAM, [f"{lane}.>"], 1, seconds=seconds)
    assert pull.pending == count
    found = await whole(pull, most)
    assert numbers(found) == list(range(count))
    assert [each.pending for each in found] == list(range(count))[::-1]
    assert pull._asked <= most
    await pull.close()
    # behind a position
    pull = await Pull.open(link, STREAM, [f"{lane}.>"], found[-1].sequence, seconds=seconds)
    assert numbers(await whole(pull, most)) == [count - 1]
    await pull.close()


async def test_what_comes_later_comes_to_who_waits(link: Link, lane: str) -> None:
    pull = await Pull.open(link, STREAM, [f"{lane}.>"], 1, seconds=20)
    assert pull.pending == 0
    await fill(link, lane, 3)
    found: list[Message] = []
    while len(found) < 3:
        found += await pull.take(2)
    assert numbers(found) == [0, 1, 2]
    await pull.close()


async def test_who_does_not_wait_hears_at_once_that_nothing_is_there(link: Link, lane: str) -> None:
    await fill(link, lane, 2)
    pull = await Pull.open(link, STREAM, [f"{lane}.>"], 1)
    assert len(await pull.take(10)) + len(await pull.take(10)) == 2
    assert await pull.take(10) == []
    await fill(link, lane, 1)
    assert len(await pull.take(10)) == 1
    await pull.close()


async def test_more_bytes_than_a_request_may_have_come_by_the_next(link: Link, lane: str) -> None:
    await fill(link, lane, 12, size=500_000)
    pull = await Pull.open(link, STREAM, [f"{lane}.>"], 1)
    assert numbers(await whole(pull, 100)) == list(range(12))
    await pull.close()


async def test_what_goes_meanwhile_is_no_reason_to_wait(bus: Bus, link: Link, lane: str) -> None:
    await fill(link, lane, 250)
    pull = await Pull.open(link, STREAM, [f"{lane}.>"], 1)
    first = await pull.take(100)
    await bus.link.api(f"STREAM.PURGE.{STREAM}", {"filter": f"{lane}.>"})
    assert len(first) + len(await whole(pull, 100)) <= 100
    await pull.close()


@pytest.mark.parametrize("seconds", [0.0, 20.0])
async def test_a_reader_that_the_server_dropped_is_lost(bus: Bus, link: Link, lane: str, seconds: float) -> None:
    """It is not taken for one that has read everything."""
    await fill(link, lane, 250)
    pull = await Pull.open(link, STREAM, [f"{lane}.>"], 1, seconds=seconds)
    await pull.take(100)
    await bus.link.api(f"CONSUMER.DELETE.{pull._consumer}")
    with pytest.raises(Unavailable):
        await whole(pull, 100)
    await pull.close()


async def test_a_message_that_was_not_heard_is_said(link: Link, lane: str) -> None:
    """What came before it is given, nothing that came behind it."""
    await fill(link, lane, 5)
    pull = await Pull.open(link, STREAM, [f"{lane}.>"], 1)
    pull._heard(f"{lane}.t", f"$JS.ACK.{STREAM}.g.1.1.1.5.9", None, b"0")
    pull._heard(f"{lane}.t", f"$JS.ACK.{STREAM}.g.1.3.3.5.7", None, b"2")
    assert numbers(await pull.take(10)) == [0]
    with pytest.raises(Unavailable, match="message 2 was not heard"):
        await pull.take(10)
    await pull.close()


async def test_a_lost_connection_is_said_at_once(link: Link, lane: str) -> None:
    pull = await Pull.open(link, STREAM, [f"{lane}.>"], 1, seconds=20)
    link.abort()
    with pytest.raises(Unavailable, match="connection"):
        await pull.take(10)
    await pull.close()
