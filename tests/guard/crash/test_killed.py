"""Killed with SIGKILL at every boundary of a call: no effect twice, and what nobody knows is called unknown."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.guard.crash.acting import (
    BOUNDARIES,
    EXPECTED,
    FORKS,
    LEASE,
    SCHEMA,
    crash,
    guarded,
    happened,
    pay_and_die,
    store_of,
)

from valhalla.guard.contracts import Scan
from valhalla.guard.stores.postgres import PostgresStore
from valhalla.kernel.ids import new_id

KINDS = ("sqlite", "postgres", "valkey")
# of the long run: deaths at boundaries and rounds of deaths at any instant, on each store
DEATHS = int(os.environ.get("GUARD_DEATHS", "1500"))
ROUNDS = int(os.environ.get("GUARD_ROUNDS", "150"))
SEED = int(os.environ.get("GUARD_SEED", "7"))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def where(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if kind == "sqlite":
        return str(tmp_path / "guard.db")
    if kind == "valkey":
        url = request.getfixturevalue("servers").endpoints.valkey_url
        # the one server of all tests, which stays durable from here on
        with Redis.from_url(url) as server:
            server.config_set("appendfsync", "always")
        return f"{url}#{new_id()}"
    url = request.getfixturevalue("guard_url")
    PostgresStore(url, schema=SCHEMA).setup()
    return url


@pytest.fixture
def store(kind: str, where: str) -> Iterator[Any]:
    made = store_of(kind, where)
    yield made
    made.close()


def _after_lease(call: Any) -> Any:
    """Call until the dead process's lease has lapsed."""
    until = time.monotonic() + 60
    while (outcome := call()).status == "in_progress" and time.monotonic() < until:
        time.sleep(LEASE / 3)
    return outcome


def _check(store: Any, log: Path, at: str, order: str) -> None:
    times, told = EXPECTED[at]
    _, pay = guarded(store, log)
    outcome = _after_lease(partial(pay.outcome, order))
    assert (at, outcome.status) == (at, told)
    assert (at, happened(log, order)) == (at, times)
    # asked again and again, it stays what it is
    assert pay.outcome(order).status == ("replayed" if told == "succeeded" else told)
    assert happened(log, order) == times
    (record,) = store.scan(Scan("key", name="payment", key=order)).records
    assert record.state == ("indeterminate" if told == "indeterminate" else "succeeded")


@pytest.mark.parametrize("at", BOUNDARIES)
def test_killed_at_a_boundary(kind: str, where: str, store: Any, tmp_path: Path, at: str) -> None:
    log, order = tmp_path / "log", new_id()
    crash(kind, where, log, at, [new_id(), order])
    _check(store, log, at, order)


def test_what_may_run_again_does(kind: str, where: str, store: Any, tmp_path: Path) -> None:
    log, order = tmp_path / "log", new_id()
    crash(kind, where, log, "after the effect", [order], "idempotent")
    _, pay = guarded(store, log, effect="idempotent")
    assert _after_lease(partial(pay.outcome, order)).status == "succeeded"
    assert happened(log, order) == 2


def test_a_sweep_finds_what_the_dead_left(kind: str, where: str, store: Any, tmp_path: Path) -> None:
    log, order = tmp_path / "log", new_id()
    crash(kind, where, log, "after the effect", [order])
    guard, pay = guarded(store, log)
    time.sleep(LEASE)
    guard.sweep()
    (record,) = [one for one in guard.waiting(kind="indeterminate") if one.key == order]
    guard.settle(record.id, "succeeded", evidence="seen at the provider", value=order)
    assert pay.outcome(order).status == "replayed"
    assert happened(log, order) == 1


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_thousands_of_deaths(kind: str, where: str, store: Any, tmp_path: Path) -> None:
    """Boundaries by turns, several processes at a time on one store."""

    def one(number: int) -> None:
        log, order, at = tmp_path / f"log-{number}", new_id(), BOUNDARIES[number % len(BOUNDARIES)]
        crash(kind, where, log, at, [order])
        _check(store, log, at, order)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(DEATHS)))


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_deaths_at_any_instant(kind: str, where: str, store: Any, tmp_path: Path) -> None:
    """Killed from outside wherever it happens to be: no order happened twice, and each row says what is known."""
    chance = random.Random(SEED)
    for round_ in range(ROUNDS):
        log, orders = tmp_path / f"log-{round_}", [new_id() for _ in range(200)]
        process = FORKS.Process(
            target=pay_and_die, args=(kind, where, str(log), "after finish", "irreversible", orders)
        )
        process.start()
        killer = threading.Timer(0.05 + chance.random() * 0.3, process.kill)
        killer.start()
        process.join(60)
        killer.cancel()
        assert process.exitcode == -signal.SIGKILL
        time.sleep(LEASE)
        _, pay = guarded(store, log)
        before = {order: happened(log, order) for order in orders}
        known = [order for order in orders if store.scan(Scan("key", name="payment", key=order)).records]
        for order in known:
            outcome = _after_lease(partial(pay.outcome, order))
            assert outcome.status in ("replayed", "indeterminate")
            assert outcome.status != "replayed" or before[order] == 1
        assert all(happened(log, order) == before[order] <= 1 for order in orders)
