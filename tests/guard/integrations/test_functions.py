"""Plain functions, without any framework: a held one goes on in another process, whoever dispatches it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.guard.integrations.shop import BOTH, Shop, begun

from valhalla.guard import Held, NotDone


async def begin(shop: Shop) -> str:
    """Call both actions; both are held."""
    with shop.guard.acting("cy"):
        held = [shop.refund.outcome(**BOTH[0][1]), await shop.gift.outcome(**BOTH[1][1])]
    return " ".join(outcome.id for outcome in held)


def test_a_hold_survives_its_process_and_any_worker_does_it_once(shop: Shop, tmp_path: Path) -> None:
    for id_ in begun(__name__, shop.path).split():
        shop.guard.approve(id_, by="ana")
    other = Shop(tmp_path)
    # a worker in a thread does async actions too
    assert [outcome.status for outcome in shop.guard.dispatch()] == ["succeeded", "succeeded"]
    assert other.guard.dispatch() == []
    assert other.refund("B-1", 900) == "receipt-1"
    assert sorted(shop.paid()) == [("B-1", 900), ("di", 900)]
    other.guard.close()


async def test_an_async_action_that_cannot_run_is_not_taken_for_done(shop: Shop) -> None:
    with pytest.raises(Held):
        await shop.gift("di", 900)
    shop.guard.approve(shop.hold(), by="ana")
    # this thread's loop is running, so nothing can wait here
    (outcome,) = shop.guard.dispatch()
    assert outcome.status == "not_done"
    assert isinstance(outcome.error, NotDone)
    assert shop.paid() == []


async def test_a_function_that_was_never_declared(shop: Shop) -> None:
    def send(to: str) -> str:
        return f"sent to {to}"

    def run() -> str:
        return shop.guard.run("mail", send, "di", key="m-1", approval="1 of finance")

    with pytest.raises(Held):
        run()
    shop.guard.approve(shop.hold(), by="ana")
    assert await asyncio.to_thread(run) == "sent to di"
