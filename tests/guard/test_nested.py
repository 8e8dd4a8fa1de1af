"""Actions that call actions: how the inner one ended says nothing about what the outer one had done before."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest
from tests.guard.faces import Face

from valhalla.guard import (
    BadDeclaration,
    Breaker,
    BreakerOpen,
    DeadlineExceeded,
    Guard,
    Held,
    Indeterminate,
    NotDone,
    Retry,
)


def _refuses(error: Callable[[], BaseException]) -> Callable[[], None]:
    def body() -> None:
        raise error()

    return body


@pytest.mark.parametrize("error", [NotDone, ConnectionRefusedError])
def test_nothing_was_sent_by_the_inner_one_is_no_word_on_the_outer_one(face: Face, error: Any) -> None:
    guard = face.guard
    charged: list[str] = []
    notify = guard.action("notify", effect="irreversible")(_refuses(error))

    def body(order: str) -> None:
        charged.append(order)
        notify()

    charge = face.action("charge", body, key="order", retries=Retry(3, base=0.001, cap=0.002))
    with pytest.raises(error):
        face.call(charge, "A")
    with pytest.raises(Indeterminate):
        face.call(charge, "A")
    assert charged == ["A"]
    # who says so itself is believed
    own = face.action("own", _refuses(NotDone), key=lambda: "k")
    for _ in range(2):
        with pytest.raises(NotDone):
            face.call(own)


def test_an_exception_that_a_program_keeps_is_its_own_each_time() -> None:
    guard, busy = Guard(fused=False), NotDone("busy")

    @guard.action("act", key="key")
    def act(key: str) -> None:
        raise busy

    for key in ("1", "2", "2"):
        with pytest.raises(NotDone):
            act(key)
    guard.close()


def test_who_may_be_repeated_is_repeated_after_an_inner_one(face: Face) -> None:
    seen: list[int] = []
    send = face.guard.action("send", effect="irreversible")(_refuses(NotDone))

    def body() -> str:
        seen.append(1)
        if len(seen) < 3:
            send()
        return "sent"

    both = face.action("both", body, effect="idempotent", retries=Retry(3, base=0.001, cap=0.002))
    assert face.call(both) == "sent"


def test_a_deadline_of_the_inner_one_frees_no_key_of_the_outer_one() -> None:
    guard = Guard()
    charged: list[str] = []

    @guard.action("notify")
    def notify() -> None: ...

    @guard.action("charge", key="order", timeout=5)
    def charge(order: str) -> None:
        charged.append(order)
        with guard.acting(deadline=0):
            notify()

    with pytest.raises(DeadlineExceeded):
        charge("A")
    with pytest.raises(Indeterminate):
        charge("A")
    assert charged == ["A"]
    guard.close()


def test_a_breaker_of_the_inner_one_frees_no_key_of_the_outer_one(face: Face) -> None:
    charged: list[str] = []
    send = face.guard.action("send", breaker=1)(_refuses(BrokenPipeError))
    with pytest.raises(BrokenPipeError):
        send()

    def body(order: str) -> None:
        charged.append(order)
        send()

    charge = face.action("charge", body, key="order")
    with pytest.raises(BreakerOpen):
        face.call(charge, "A")
    with pytest.raises(Indeterminate):
        face.call(charge, "A")
    assert charged == ["A"]


def test_a_deadline_that_has_passed_does_not_keep_a_breaker_open_for_ever() -> None:
    now = [0.0]
    guard, breaker = Guard(), Breaker(1, 30, clock=lambda: now[0])
    broken = [True]

    @guard.action("act", key="key", breaker=breaker, effect="idempotent")
    def act(key: str) -> str:
        if broken:
            raise BrokenPipeError
        return "done"

    with pytest.raises(BrokenPipeError):
        act("1")
    now[0], _ = 31, broken.pop()
    with guard.acting(deadline=0), pytest.raises(DeadlineExceeded):
        act("2")
    assert act("3") == "done"
    guard.close()


def test_who_goes_away_and_what_a_guard_refuses_open_no_breaker() -> None:
    guard, breaker = Guard(), Breaker(1, 30)
    asks = guard.action("asks", approval="1 of anyone")(lambda: None)

    @guard.action("slow", breaker=breaker, effect="idempotent")
    async def slow(held: bool) -> str:
        if held:
            asks()
        await asyncio.sleep(0 if held is None else 30)
        return "done"

    async def scene() -> str:
        task = asyncio.create_task(slow(False))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        with pytest.raises(Held):
            await slow(True)
        return await slow(None)

    assert asyncio.run(scene()) == "done"
    guard.close()


def test_who_goes_away_while_an_open_breaker_lets_it_try_leaves_the_try_to_the_next() -> None:
    now = [0.0]
    guard, breaker = Guard(), Breaker(1, 30, clock=lambda: now[0])

    @guard.action("slow", breaker=breaker, effect="idempotent")
    async def slow(seconds: int) -> str:
        if seconds < 0:
            raise BrokenPipeError
        await asyncio.sleep(seconds)
        return "done"

    async def scene() -> str:
        with pytest.raises(BrokenPipeError):
            await slow(-1)
        now[0] = 31
        task = asyncio.create_task(slow(30))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        return await slow(0)

    assert asyncio.run(scene()) == "done"
    guard.close()


def test_what_is_declared_anew_for_each_call_counts_together() -> None:
    guard = Guard()
    tried: list[int] = []

    def send() -> None:
        tried.append(1)
        raise BrokenPipeError

    for _ in range(2):
        with pytest.raises(BrokenPipeError):
            guard.run("send", send, breaker=2, effect="idempotent")
    with pytest.raises(BreakerOpen):
        guard.run("send", functools.partial(send), breaker=2, effect="idempotent")
    assert len(tried) == 2
    # one in ten first attempts may be repeated, and ten before that
    tried.clear()
    for _ in range(40):
        with pytest.raises(BrokenPipeError):
            guard.run("other", send, retries=Retry(3, base=0.0001, cap=0.0002), effect="idempotent")
    assert len(tried) <= 40 + 10 + 4
    guard.close()


def test_one_call_has_other_retries_than_its_action(face: Face) -> None:
    failing = [3]

    def body() -> str:
        face.ran.append(1)
        if len(face.ran) <= failing[0]:
            raise NotDone
        return "done"

    act = face.action("act", body)
    with pytest.raises(NotDone):
        face.call(act)
    assert face.call(act.options(retries=Retry(5, base=0.0001, cap=0.0002))) == "done"
    assert len(face.ran) == 4
    with pytest.raises(BadDeclaration):
        act.options(retries="3")
    failing[0] = 9
    with pytest.raises(NotDone):
        face.call(act.options(retries=Retry(5, base=0.0001, cap=0.0002)).options(retries=0))
    assert len(face.ran) == 5
