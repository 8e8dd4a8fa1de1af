"""Fifty threads, four processes, a loop full of tasks, all with one key: the effect runs once."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.guard.stores.valkey.asking import beginning
from tests.guard.stores.valkey.conftest import Make

from valhalla.guard import Guard
from valhalla.guard.contracts import Began, Scan, Take
from valhalla.guard.errors import StoreRefuses
from valhalla.guard.governor import Limit
from valhalla.guard.stores.valkey import ValkeyStore
from valhalla.kernel.ids import new_id

FORKS = multiprocessing.get_context("forkserver")


def guarded(store: ValkeyStore, log: Path) -> Any:
    @Guard(store, patience=60.0).action("pay", key="order", limit="1/day")
    def pay(order: str) -> str:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, b"paid\n")
        os.close(descriptor)
        time.sleep(0.02)
        return order

    return pay


def crowd(url: str, tenant: str, log: str, threads: int) -> None:
    """Pay the same order from many threads; a process that got anything else ends with an error."""
    pay = guarded(ValkeyStore(url, tenant=tenant), Path(log))
    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(pay, ["o-1"] * threads)) == ["o-1"] * threads


def test_fifty_threads(make: Make, tmp_path: Path) -> None:
    pay = guarded(make(), tmp_path / "log")
    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(pay, ["o-1"] * 50)) == ["o-1"] * 50
    assert (tmp_path / "log").read_text() == "paid\n"


def test_four_processes(url: str, server: Redis, tmp_path: Path) -> None:
    log, tenant = str(tmp_path / "log"), tmp_path.name
    processes = [FORKS.Process(target=crowd, args=(url, tenant, log, 8)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert Path(log).read_text() == "paid\n"


async def test_a_loop_of_callers(make: Make) -> None:
    ran: list[str] = []

    @Guard(make(), patience=60.0).action("pay", key="order")
    async def pay(order: str) -> str:
        ran.append(order)
        await asyncio.sleep(0.02)
        return order

    orders = [f"o-{number % 4}" for number in range(200)]
    assert await asyncio.gather(*map(pay, orders)) == orders
    assert sorted(ran) == sorted(set(orders))


def test_a_guarded_call_is_two_round_trips(make: Make, server: Redis) -> None:
    pay = Guard(make()).action("pay", key="order", limit="10/hour", retries=2)(lambda order: order)
    pay("warm")
    server.config_resetstat()
    for order in "abcde":
        pay(order)
    found: Any = server.info("commandstats")
    # what the scripts call is counted too; these are those that come from clients
    assert found["cmdstat_evalsha"]["calls"] == 10
    assert not {"cmdstat_eval", "cmdstat_config|get", "cmdstat_ping", "cmdstat_hello"} & set(found)


async def test_what_a_loop_asks_in_one_turn_is_few_writes(make: Make, server: Redis) -> None:
    store = make()
    await store.apurge()
    before: Any = server.info("stats")
    await asyncio.gather(*(store.abegin(beginning(f"k{n}", effect="idempotent")) for n in range(64)))
    after: Any = server.info("stats")
    # one reading of the socket holds many commands
    assert after["total_reads_processed"] - before["total_reads_processed"] < 40


async def test_callers_of_one_batch_share_their_limits(make: Make) -> None:
    store = make()
    wide, narrow = (Limit(capacity=size, window=3600, kind="gcra") for size in (10, 6))

    async def begun(number: int, *limits: Limit) -> Began:
        takes = tuple(Take(f"r{limit.capacity}", "ana", limits=(limit,)) for limit in limits)
        return (await store.abegin(beginning(f"k{number}", effect="idempotent", takes=takes))).kind

    kinds = await asyncio.gather(*(begun(number, wide, narrow) for number in range(40)))
    assert kinds.count(Began.EXECUTE) == narrow.most
    # who was refused by the narrow one has taken nothing of the wide one
    kinds = await asyncio.gather(*(begun(number, wide) for number in range(40, 60)))
    assert kinds.count(Began.EXECUTE) == wide.most - narrow.most


async def test_an_error_of_one_caller_is_not_the_others(make: Make, server: Redis) -> None:
    tenant = new_id()
    store = make(tenant=tenant)
    server.rpush(f"{{{tenant}}}guard:k:pay k5", "not what a key is")
    asked = [store.abegin(beginning(f"k{number}")) for number in range(10)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers.pop(5), StoreRefuses)
    assert [answer.kind for answer in answers] == [Began.EXECUTE] * 9  # pyright: ignore


async def test_a_caller_that_is_cancelled_while_it_claims_gives_the_claim_back(make: Make) -> None:
    store = make()
    await store.abegin(beginning("warm"))
    task = asyncio.create_task(store.abegin(beginning()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(200):
        (record,) = (await store.ascan(Scan("key", name="pay", key="k"))).records or (None,)
        if record is not None and record.state == "not_done":
            break
        await asyncio.sleep(0.02)
    else:
        pytest.fail("nobody gave the claim back")
    assert (await store.abegin(beginning())).kind is Began.EXECUTE


def test_one_store_serves_loop_after_loop_and_threads_between(make: Make) -> None:
    store = make()
    for number in range(3):
        assert asyncio.run(store.abegin(beginning(f"a{number}"))).kind is Began.EXECUTE
        assert store.begin(beginning(f"s{number}")).kind is Began.EXECUTE


def test_the_ledger_is_bounded(make: Make) -> None:
    store = make(ledger=100)
    for number in range(400):
        store.begin(beginning(None, track=False, effect="idempotent", id=f"id{number}"))
    lines = store.scan(Scan("ledger", limit=1000)).lines
    assert 100 <= len(lines) <= 250
    assert [line.seq for line in lines] == list(range(401 - len(lines), 401))
