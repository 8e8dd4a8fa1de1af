"""Batches are bounded, lose only what they count, and outlive a store that is away."""

from __future__ import annotations

import asyncio

import pytest

from valhalla.kernel.problems import Unavailable
from valhalla.kit.batches import Batches


class Shelf:
    """What was stored; ``trouble`` is raised instead."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.calls = 0
        self.trouble: Exception | None = None

    async def write(self, items: list[int]) -> None:
        self.calls += 1
        if self.trouble is not None:
            raise self.trouble
        self.rows += items


async def test_everything_is_written_once_in_order_and_in_batches() -> None:
    shelf = Shelf()
    batches = Batches("numbers", shelf.write, batch=4)
    for number in range(10):
        assert batches.put(number)
    await batches.flush()
    assert (shelf.rows, shelf.calls, batches.counts()) == (
        list(range(10)),
        3,
        {"waiting": 0, "written": 10, "dropped": 0},
    )


async def test_what_does_not_fit_is_counted() -> None:
    shelf = Shelf()
    batches = Batches("numbers", shelf.write, most=3)
    assert [batches.put(number) for number in range(5)] == [True, True, True, False, False]
    await batches.flush()
    assert (shelf.rows, batches.dropped) == ([0, 1, 2], 2)


async def test_nothing_is_lost_while_the_store_is_away() -> None:
    shelf = Shelf()
    shelf.trouble = Unavailable("postgres", "away")
    batches = Batches("numbers", shelf.write, batch=2)
    for number in range(3):
        batches.put(number)
    for _ in range(5):
        with pytest.raises(Unavailable):
            await batches.flush()
    shelf.trouble = None
    await batches.flush()
    assert (shelf.rows, batches.dropped) == ([0, 1, 2], 0)


async def test_what_can_never_be_stored_does_not_hold_up_the_rest() -> None:
    shelf = Shelf()
    shelf.trouble = ValueError("bad row")
    batches = Batches("numbers", shelf.write, batch=2)
    for number in range(3):
        batches.put(number)
    for _ in range(3):
        with pytest.raises(ValueError, match="bad row"):
            await batches.flush()
    shelf.trouble = None
    await batches.flush()
    assert (shelf.rows, batches.dropped, batches.written) == ([2], 2, 1)


async def test_what_waits_at_the_end_is_written() -> None:
    shelf = Shelf()
    batches = Batches("numbers", shelf.write, pause=60)
    stop = asyncio.Event()
    task = asyncio.create_task(batches.run(stop))
    batches.put(7)
    stop.set()
    await task
    assert shelf.rows == [7]
