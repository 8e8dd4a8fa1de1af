"""Guarded tasks on a real worker in this process, with the broker in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery, states
from celery.contrib.testing.worker import start_worker
from tests.guard.integrations.shop import Shop

from valhalla.guard.integrations.celery import HELD, guarded_task


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Return one shop for all tests: its worker takes seconds to stop."""
    made = Shop(tmp_path_factory.mktemp("shop"))
    yield made
    made.guard.close()


@pytest.fixture(autouse=True)
def new_book(shop: Shop) -> None:
    (shop.path / "paid").unlink(missing_ok=True)
    shop.mood = "well"


@pytest.fixture(scope="module")
def app() -> Celery:
    made = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    made.conf.update(
        broker_connection_retry_on_startup=True,
        broker_transport_options={"polling_interval": 0.01},
        task_default_queue="guarded",
        worker_hijack_root_logger=False,
    )
    return made


@pytest.fixture(scope="module")
def tasks(app: Celery, shop: Shop) -> dict[str, Any]:
    actions = (shop.refund, shop.gift, shop.tip, shop.lot)
    return {action.__name__: guarded_task(app, shop.guard, action, principal="cy", poll=0.05) for action in actions}


@pytest.fixture(scope="module")
def worker(app: Celery, tasks: dict[str, Any], shop: Shop) -> Iterator[Any]:
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=20) as made:
        yield made


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for what a worker does in its own time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "the worker never got there"
        time.sleep(0.01)


@pytest.mark.usefixtures("worker")
def test_a_task_that_is_delivered_again_has_one_effect(shop: Shop, tasks: dict[str, Any]) -> None:
    first = tasks["tip"].apply_async(("di", 1), task_id="one")
    assert first.get(timeout=30, interval=0.02) == "receipt-1"
    # the same message once more, with a mark to know when it was worked on
    first.forget()
    again = tasks["tip"].apply_async(("di", 1), task_id="one")
    assert again.get(timeout=30, interval=0.02) == "receipt-1"
    other = tasks["tip"].apply_async(("di", 1), task_id="two")
    assert other.get(timeout=30, interval=0.02) == "receipt-2"
    assert len(shop.paid()) == 2


@pytest.mark.usefixtures("worker")
def test_a_held_task_says_so_and_is_done_once_after_its_approval(shop: Shop, tasks: dict[str, Any]) -> None:
    results = [tasks["gift"].delay("di", 900), tasks["refund"].delay("B-1", 900)]
    until(lambda: [result.state for result in results] == [HELD, HELD])
    held = {record.id: record for record in shop.guard.waiting()}
    assert {result.info["hold"] for result in results} == set(held)
    assert {record.principal for record in held.values()} == {"cy"}
    assert shop.paid() == []
    for id_ in held:
        shop.guard.approve(id_, by="ana")
    # a worker of the guard comes in between
    shop.guard.dispatch()
    assert all(result.get(timeout=30, interval=0.02).startswith("receipt-") for result in results)
    assert sorted(shop.paid()) == [("B-1", 900), ("di", 900)]


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("end", "words"),
    [
        (lambda shop, hold: shop.guard.deny(hold, by="ana", reason="too much"), "was denied: too much"),
        (lambda shop, hold: shop.guard.cancel(hold), "the hold of gift is cancelled"),
    ],
)
def test_a_task_that_people_refuse_fails(
    shop: Shop, tasks: dict[str, Any], end: Callable[[Shop, str], Any], words: str
) -> None:
    result = tasks["gift"].delay("di", 900)
    until(lambda: result.state == HELD)
    end(shop, result.info["hold"])
    with pytest.raises(Exception, match=words):
        result.get(timeout=30, interval=0.02)
    assert result.state == states.FAILURE
    # nobody is asked again
    assert shop.guard.waiting() == ()


@pytest.mark.usefixtures("worker")
def test_a_limited_task_comes_back_when_the_limit_lets_it(shop: Shop, tasks: dict[str, Any]) -> None:
    results = [tasks["lot"].delay(str(i), 1) for i in range(3)]
    assert sorted(result.get(timeout=30, interval=0.02) for result in results) == [
        "receipt-1",
        "receipt-2",
        "receipt-3",
    ]
    assert len(shop.paid()) == 3


@pytest.mark.usefixtures("worker")
def test_an_end_that_nobody_knows_is_not_repeated(shop: Shop, tasks: dict[str, Any]) -> None:
    shop.mood = "silent"
    with pytest.raises(TimeoutError):
        tasks["refund"].delay("B-2", 5).get(timeout=30, interval=0.02)
    shop.mood = "well"
    with pytest.raises(Exception, match="is unknown"):
        tasks["refund"].delay("B-2", 5).get(timeout=30, interval=0.02)
    assert shop.paid() == [("B-2", 5)]


def test_an_eager_task_raises_what_the_action_raises(shop: Shop, tasks: dict[str, Any]) -> None:
    assert tasks["refund"].apply(("B-9", 5)).get() == "receipt-1"
    held = tasks["gift"].apply(("di", 1))
    assert (held.state, type(held.result).__name__) == (states.FAILURE, "Held")
    with pytest.raises(TypeError):
        tasks["tip"].delay("di")
