"""One guarded call over SQLite and Postgres: alone, in a caller's transaction, and 64 callers who share commits."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg

from bench.guard_store_peers import separate
from bench.report import Figure, figure, publish
from valhalla.embedded import Stack
from valhalla.guard import Guard
from valhalla.guard.stores.postgres import PostgresStore
from valhalla.guard.stores.sqlite import SqliteStore
from valhalla.kit.cellkey import CellKey

CALLS = 300
CALLERS = 64
EACH = 100
ROUNDS = 15

_numbers = itertools.count()


def run() -> None:
    """Measure and publish."""
    folder = Path(tempfile.mkdtemp(prefix="vh-bench-"))
    folder.chmod(0o711)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        servers = Stack(folder, CellKey.load_or_create(folder / "cell.key"), want=frozenset({"postgres"}))
        stack.callback(servers.stop)
        url = servers.start().postgres_superuser_url
        assert url is not None
        figures = [*_sqlite(folder / "guard.db"), *_postgres(url)]
    publish("Guard on SQLite and Postgres", figures)
    print(f"load {os.getloadavg()[0]:.1f}")


def _action(guard: Guard, effect: str = "irreversible") -> Any:
    @guard.action("payment", key="order", effect=effect)
    def pay(order: str) -> str:
        return order

    return pay


def _async_action(guard: Guard) -> Any:
    @guard.action("payment-async", key="order")
    async def pay(order: str) -> str:
        return order

    return pay


def _sqlite(path: Path) -> list[Figure]:
    guard = Guard(SqliteStore(path))
    guard.setup()
    apay = _async_action(guard)
    figures = [
        figure("SQLite: irreversible call, synced", "us", _timed(_action(guard), CALLS)),
        figure(
            "SQLite: idempotent call", "us", _timed(guard.action("idem", key="k", effect="idempotent")(_same), CALLS)
        ),
        figure("SQLite: 64 tasks", "calls/s", [_tasks(apay) for _ in range(ROUNDS)]),
    ]
    guard.close()
    return figures


def _same(k: str) -> str:
    return k


def _postgres(url: str) -> list[Figure]:
    guard = Guard(PostgresStore(url))
    guard.setup()
    pay, apay, peer = _action(guard), _async_action(guard), separate(url)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE TABLE paid (k text)")
    for call in (pay, peer):
        _timed(call, 50)
    alone = _timed(pay, CALLS)
    peers, shared = list[float](), list[float]()
    for _ in range(ROUNDS):
        peers.append(_alone(peer))
        shared.append(_tasks(apay))
    return [
        figure("Postgres: external effect, two commits", "us", alone),
        figure("Postgres: effect in the transaction, one commit", "us", _transactional(guard, url)),
        figure("Postgres: 64 tasks sharing commits", "calls/s", shared),
        figure("Postgres: separate statements, one caller", "calls/s", peers),
        figure(
            "Postgres: 64 tasks / separate statements",
            "x",
            [ours / theirs for ours, theirs in zip(shared, peers, strict=True)],
            floor=20,
        ),
    ]


def _transactional(guard: Guard, url: str) -> list[float]:
    @guard.action("joined", key="k", transactional="conn")
    def pay(k: str, conn: Any) -> str:
        conn.execute("INSERT INTO paid VALUES (%s)", (k,))
        return k

    with psycopg.connect(url) as conn:

        def call(key: str) -> None:
            pay(key, conn)
            conn.commit()

        return _timed(call, CALLS)


def _keys(count: int) -> Iterator[str]:
    return (f"order-{next(_numbers)}" for _ in range(count))


def _timed(call: Callable[[str], Any], count: int) -> list[float]:
    samples: list[float] = []
    for key in _keys(count):
        began = time.perf_counter()
        call(key)
        samples.append((time.perf_counter() - began) * 1e6)
    return samples


def _alone(call: Callable[[str], Any]) -> float:
    """Return calls per second of one caller."""
    began = time.perf_counter()
    for key in _keys(CALLS):
        call(key)
    return CALLS / (time.perf_counter() - began)


def _tasks(call: Callable[[str], Any]) -> float:
    """Return calls per second of 64 tasks."""

    async def one(keys: list[str]) -> None:
        for key in keys:
            await call(key)

    async def all_of() -> float:
        keys = [list(_keys(EACH)) for _ in range(CALLERS)]
        await asyncio.gather(*(one(some[:1]) for some in keys))
        began = time.perf_counter()
        await asyncio.gather(*(one(some[1:]) for some in keys))
        return CALLERS * (EACH - 1) / (time.perf_counter() - began)

    return asyncio.run(all_of())
