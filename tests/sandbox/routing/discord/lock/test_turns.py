"""Whose call goes to Discord next, and whose not for a while."""

from __future__ import annotations

import asyncio

import pytest

from valhalla.sandbox.routing.discord.outbound.mistakes import Mistakes
from valhalla.sandbox.routing.discord.outbound.pacing import Pacer, TooMany


async def test_turns_are_as_discord_says() -> None:
    """A window that is used up closes; another bucket does not mind; everything minds the one for all."""
    pacer = Pacer(patience=0.02)
    await pacer.turn("x", "a")
    pacer.learn("x", "a", 200, {"x-ratelimit-remaining": "1", "x-ratelimit-reset-after": "60"})
    await pacer.turn("y", "a")
    with pytest.raises(TooMany) as limit:
        await pacer.turn("x", "a")
    assert 50 < limit.value.seconds <= 60
    await pacer.turn("x", "b")
    pacer.learn("x", "b", 429, {"retry-after": "30"})
    with pytest.raises(TooMany):
        await pacer.turn("y", "b")
    pacer.learn("x", "c", 429, {"retry-after": "40", "x-ratelimit-scope": "global"})
    with pytest.raises(TooMany) as limit:
        await pacer.turn("x", "new")
    assert limit.value.everywhere


async def test_of_a_new_bucket_one_is_tried_first() -> None:
    """The others wait for what is said to it; one without a limit does not hold them up again."""
    pacer = Pacer(patience=5)
    await pacer.turn("x", "a")
    waiting = [asyncio.create_task(pacer.turn("x", "a")) for _ in range(5)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    pacer.learn("x", "a", 204, {})
    await asyncio.gather(*waiting)
    await pacer.turn("x", "a")


async def test_one_sandbox_cannot_fill_the_line() -> None:
    """Its own is full, and others still wait."""
    pacer = Pacer(patience=5)
    await pacer.turn("x", "a")
    waiting = [asyncio.create_task(pacer.turn("x", "a")) for _ in range(30)]
    await asyncio.sleep(0.01)
    assert sum(task.done() for task in waiting) == 10
    other = asyncio.create_task(pacer.turn("y", "b"))
    await asyncio.wait_for(other, 1)
    for task in waiting:
        task.cancel()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(one, TooMany) for one in found) == 10


def test_who_asks_for_what_is_forbidden_too_often_is_stopped() -> None:
    """Before Discord stops everybody at this address; those who show no token count together alone."""
    mistakes = Mistakes(each=3, together=8)
    for status in (200, 404, 401, 403, 429, 500):
        mistakes.note("x", status, "user")
    mistakes.note("y", 429, "shared")
    assert 590 < mistakes.wait("x") <= 600
    assert mistakes.wait("y") == 0
    for _ in range(4):
        mistakes.note("", 401, None)
    assert mistakes.wait("") == mistakes.wait("y") == 0
    mistakes.note("", 401, None)
    assert mistakes.wait("") > 590
    assert mistakes.wait("y") > 590


async def test_a_stopped_sandbox_gets_no_turn() -> None:
    """Others do."""
    pacer = Pacer(mistakes=Mistakes(each=1))
    await pacer.turn("x", "a")
    pacer.learn("x", "a", 403, {})
    with pytest.raises(TooMany):
        await pacer.turn("x", "b")
    await pacer.turn("y", "b")


async def test_all_together_are_as_many_in_a_second_as_discord_takes() -> None:
    """Whatever their buckets."""
    pacer = Pacer(patience=0.05, everywhere=5)
    for number in range(5):
        await pacer.turn("x", f"bucket{number}")
    with pytest.raises(TooMany):
        await pacer.turn("y", "another")
