"""The server forgets its scripts, loses connections, is killed, is away: an effect runs once or not at all."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis
from tests.guard.stores.valkey.asking import beginning, ending
from tests.guard.stores.valkey.conftest import Make
from tests.guard.stores.valkey.cutting import Wire

from valhalla.embedded import Stack
from valhalla.guard import Guard
from valhalla.guard.contracts import Began, Scan
from valhalla.guard.errors import GuardProblem
from valhalla.kernel.problems import Unavailable


@pytest.fixture
def wire(url: str) -> Iterator[Wire]:
    made = Wire(url)
    yield made
    made.close()


async def test_a_server_that_forgot_the_scripts_is_taught_them_again(make: Make, server: Redis) -> None:
    store = make()
    server.script_flush()
    assert store.begin(beginning()).kind is Began.EXECUTE
    server.script_flush()
    assert (await store.abegin(beginning())).kind is Began.IN_PROGRESS
    assert store.purge() == 0


@pytest.mark.parametrize("lost", ["lose_replies", "lose_requests"])
def test_a_begin_whose_connection_breaks_claims_once(make: Make, wire: Wire, lost: str) -> None:
    store = make(wire.url)
    store.begin(beginning("another"))
    setattr(wire, lost, 1)
    began = store.begin(beginning())
    assert began.kind is Began.EXECUTE
    assert began.record is not None
    assert began.record.generation == 1
    assert [line.event for line in store.scan(Scan("ledger")).lines] == ["begin", "begin"]
    assert store.cas(ending(began.record.id)).done


@pytest.mark.parametrize("lost", ["lose_replies", "lose_requests"])
async def test_a_begin_on_a_loop_whose_connection_breaks_claims_once(make: Make, wire: Wire, lost: str) -> None:
    store = make(wire.url)
    await store.abegin(beginning("another"))
    setattr(wire, lost, 1)
    began = await store.abegin(beginning())
    assert began.kind is Began.EXECUTE
    assert len((await store.ascan(Scan("ledger"))).lines) == 2


@pytest.mark.parametrize("lost", ["lose_replies", "lose_requests"])
async def test_an_end_of_a_cancelled_caller_is_written_although_its_connection_breaks(
    make: Make, wire: Wire, lost: str
) -> None:
    store = make(wire.url)
    record = (await store.abegin(beginning())).record
    assert record is not None
    setattr(wire, lost, 1)
    task = asyncio.create_task(store.acas(ending(record.id, patch={"value": b"1"})))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(400):
        (found,) = (await store.ascan(Scan("id", id=record.id))).records
        if found.state == "succeeded":
            break
        await asyncio.sleep(0.02)
    assert (found.state, found.value) == ("succeeded", b"1")
    assert [line.event for line in (await store.ascan(Scan("ledger"))).lines] == ["begin", "finish"]


@pytest.mark.parametrize("first", [True, False])
def test_a_begin_whose_reply_is_lost_for_good_finds_its_claim_when_it_is_sent_again(
    make: Make, wire: Wire, first: bool
) -> None:
    store = make(wire.url)
    if not first:
        before = store.begin(beginning()).record
        assert before is not None
        store.cas(ending(before.id, "not_done"))
    request = beginning()
    wire.lose_replies = 2
    with pytest.raises(Unavailable):
        store.begin(request)
    again = store.begin(request)
    assert again.kind is Began.EXECUTE
    assert again.record is not None
    assert again.record.generation == (1 if first else 2)
    (row,) = store.scan(Scan("key", name=request.name, key=request.key)).records
    assert (row.attempt or row.id) == request.id
    assert store.begin(beginning()).kind is Began.IN_PROGRESS


def test_a_claim_whose_reply_is_lost_for_good_is_given_back(make: Make, wire: Wire) -> None:
    ran: list[str] = []
    guard = Guard(make(wire.url), patience=0.0)
    wire.lose_replies = 2
    with pytest.raises(Unavailable):
        guard.run("act", ran.append, "1", key="1", effect="idempotent")
    assert ran == []
    guard.run("act", ran.append, "1", key="1", effect="idempotent")
    assert ran == ["1"]
    assert [line.event for line in guard.store.scan(Scan("ledger")).lines] == ["begin", "unanswered", "begin", "finish"]


def test_an_end_whose_reply_is_lost_twice_is_the_same_end_when_it_is_sent_again(make: Make, wire: Wire) -> None:
    store = make(wire.url)
    record = store.begin(beginning()).record
    assert record is not None
    end = ending(record.id, patch={"value": b"1"})
    wire.lose_replies = 2
    with pytest.raises(Unavailable):
        store.cas(end)
    again = store.cas(end)
    assert again.done
    assert again.record is not None
    assert again.record.value == b"1"
    assert [line.event for line in store.scan(Scan("ledger")).lines] == ["begin", "finish"]


def test_a_dispatch_whose_reply_is_lost_for_good_is_nobody_elses(make: Make, wire: Wire) -> None:
    """Equal requests of two workers must not both be told that they won."""
    store = make(wire.url)
    record = store.begin(beginning()).record
    assert record is not None
    store.cas(ending(record.id, "not_done"))
    take = ending(record.id, "executing", sources=frozenset({"not_done"}), lease=60.0)
    assert store.cas(take).kind == "done"
    assert store.cas(take).kind == "missed"


def test_a_server_that_is_away_runs_no_effect(make: Make) -> None:
    ran: list[int] = []
    guard = Guard(make("redis://127.0.0.1:1/0", timeout=1.0))
    pay = guard.action("pay")(lambda: ran.append(1))
    with pytest.raises(Unavailable):
        pay()
    assert ran == []


async def test_a_server_that_does_not_answer_in_time_runs_no_effect(make: Make, server: Redis) -> None:
    ran: list[int] = []
    store = make(timeout=0.3)
    guard = Guard(store)
    pay = guard.action("pay")(lambda: ran.append(1))
    store.purge()
    await store.apurge()
    server.client_pause(900)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="in time"):
        pay()
    with pytest.raises(Unavailable, match="in time"):
        await store.ascan(Scan("ledger"))
    assert time.monotonic() - began < 60
    server.client_unpause()
    assert ran == []


def test_the_address_may_say_how_long_an_answer_is_waited_for(make: Make, url: str, server: Redis) -> None:
    store = make(f"{url}?socket_timeout=0.2", timeout=50.0)
    store.purge()
    server.client_pause(2_000)
    # it would be answered in the end
    with pytest.raises(Unavailable, match="in time"):
        store.purge()
    server.client_unpause()


@pytest.mark.slow
def test_connections_that_are_killed_all_the_time_repeat_no_effect(make: Make, server: Redis) -> None:
    guard, ran, stop = Guard(make(), patience=0.2), list[str](), threading.Event()

    @guard.action("pay", key="order")
    def pay(order: str) -> str:
        ran.append(order)
        return order

    def kill() -> None:
        while not stop.wait(0.03):
            server.execute_command("CLIENT KILL TYPE NORMAL SKIPME YES")

    def one(order: str) -> str | None:
        for _ in range(50):
            try:
                return pay(order)
            except Unavailable:
                time.sleep(0.01)
            except GuardProblem:
                # a claim or an end whose answer was lost again and again: it is told as such, and not run again
                return None
        return None

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        orders = [f"o-{number}" for number in range(1000)]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(one, orders))
    finally:
        stop.set()
        killer.join()
    assert len(ran) == len(set(ran))
    assert {answer for answer in answers if answer} <= set(ran)
    # it got through, and was not only cut off
    assert len(ran) > 100


@pytest.mark.parametrize("kind", ["sync", pytest.param("async", marks=pytest.mark.slow)])
def test_a_server_killed_in_the_middle_of_a_call_loses_no_claim(stack: Stack, make: Make, url: str, kind: str) -> None:
    """What was acknowledged is there again after SIGKILL; the effect that ran is not run again."""
    ran: list[str] = []
    store = make()
    guard = Guard(store)

    @guard.action("pay", key="order", lease=0.5, heartbeat=False)
    def pay(order: str) -> str:
        ran.append(order)
        os.kill(stack.pids()["valkey"], signal.SIGKILL)
        return order

    @guard.action("apay", key="order", lease=0.5, heartbeat=False)
    async def apay(order: str) -> str:
        return pay.declaration.function(order)

    import asyncio

    outcome = asyncio.run(apay.outcome("o-1")) if kind == "async" else pay.outcome("o-1")
    # the effect happened; that it could not be written down is said, not hidden
    assert outcome.status == "succeeded"
    assert type(outcome.error).__name__ == "Unrecorded"
    with pytest.raises(Unavailable):
        (asyncio.run(apay("o-1")) if kind == "async" else pay("o-1"))
    stack.restart("valkey")
    with Redis.from_url(url) as server:
        server.config_set("appendfsync", "always")
    time.sleep(0.5)
    again = asyncio.run(apay.outcome("o-1")) if kind == "async" else pay.outcome("o-1")
    assert again.status == "indeterminate"
    assert ran == ["o-1"]
