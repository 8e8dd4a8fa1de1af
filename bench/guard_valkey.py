"""One guarded call on Valkey, beside the libraries composed to do the same work on the same server; all take turns."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.guard_peers import composed
from bench.report import figure, publish
from valhalla.embedded import Stack
from valhalla.guard import Guard
from valhalla.guard.governor import Limit
from valhalla.guard.stores.valkey import ValkeyStore
from valhalla.kit.cellkey import CellKey

ROUNDS = 5
CALLS = 400
CALLERS = 64
LIMIT = Limit(capacity=1_000_000_000, window=3600, kind="gcra")

_numbers = itertools.count()


def work(order: str, amount: int, currency: str) -> dict[str, str]:
    """The effect: nothing, so that what is measured is the guard."""
    return {"id": order}


def run() -> None:
    """Measure on an embedded server and publish."""
    folder = Path(tempfile.mkdtemp(prefix="vh-bench-"))
    folder.chmod(0o711)
    stack = Stack(folder, CellKey.load_or_create(folder / "cell.key"), want=frozenset({"valkey"}))
    try:
        url = stack.start().valkey_url
        assert url is not None
        _measure(url)
    finally:
        stack.stop()
        shutil.rmtree(folder)


def _measure(url: str) -> None:
    guard = Guard(ValkeyStore(url))
    ours = guard.action("payment", key="order", limit=LIMIT, retries=3, effect="idempotent")(work)

    @guard.action("apayment", key="order", limit=LIMIT, retries=3, effect="idempotent")
    async def apayment(order: str, amount: int, currency: str) -> dict[str, str]:
        return {"id": order}

    peers = _peers(url)
    trips = _trips(url, ours)
    samples: dict[str, list[float]] = {"ours": [], "peers": []}
    rates: dict[str, list[float]] = {"async": [], "peers 4": [], "peers 64": [], "ours 4": []}
    for _ in range(ROUNDS):
        samples["ours"] += _timed(ours)
        samples["peers"] += _timed(peers)
        rates["async"].append(asyncio.run(_async(apayment)))
        rates["peers 4"].append(_threads(peers, 4))
        rates["peers 64"].append(_threads(peers, CALLERS))
        rates["ours 4"].append(_threads(ours, 4))
    guard.close()
    one = [a / b for a, b in zip(_rounds(samples["ours"]), _rounds(samples["peers"]), strict=True)]
    many = [a / b for a, b in zip(rates["peers 4"], rates["async"], strict=True)]
    publish(
        "Guard on Valkey: one call",
        [
            figure("round trips of a full call", "trips", [trips], goal=2),
            figure("full call, one thread", "us", samples["ours"]),
            figure("peers composed, one thread", "us", samples["peers"]),
            figure("full call / peers, one thread", "share", one, goal=1 / 2.3),
            figure("64 async callers, per call", "us", [1e6 / rate for rate in rates["async"]]),
            figure("4 threads, per call", "us", [1e6 / rate for rate in rates["ours 4"]]),
            figure("peers composed, 4 threads, per call", "us", [1e6 / rate for rate in rates["peers 4"]]),
            figure("peers composed, 64 threads, per call", "us", [1e6 / rate for rate in rates["peers 64"]]),
            # powertools has no async: its threads are what a caller of it could do
            figure("64 async callers / peers in 4 threads", "share", many, goal=1 / 12),
        ],
    )
    print(
        f"peers / ours: one thread {1 / statistics.median(one):.1f}, "
        f"64 async callers {1 / statistics.median(many):.1f}; "
        f"load {os.getloadavg()[0]:.1f}"
    )


def _peers(url: str) -> Callable[..., Any]:
    from aws_lambda_powertools.utilities.idempotency.persistence.redis import RedisCachePersistenceLayer
    from limits.storage import RedisStorage
    from redis import Redis

    client = Redis.from_url(url)
    return composed(
        work,
        storage=RedisStorage(url),
        layer=RedisCachePersistenceLayer(client=client),
        note=lambda order: client.xadd("peers", {"order": order}, maxlen=100_000),
    )


def _trips(url: str, call: Callable[..., Any]) -> float:
    """Return how many commands the server got for each call."""
    from redis import Redis

    client = Redis.from_url(url)
    for _ in range(10):
        call(_key(), 100, "EUR")
    client.config_resetstat()
    for _ in range(100):
        call(_key(), 100, "EUR")
    return sum(client.info("commandstats")[f"cmdstat_{name}"]["calls"] for name in ("evalsha",)) / 100


def _key() -> str:
    return f"order-{next(_numbers)}"


def _timed(call: Callable[..., Any]) -> list[float]:
    samples: list[float] = []
    for _ in range(CALLS):
        key = _key()
        began = time.perf_counter()
        call(key, 100, "EUR")
        samples.append((time.perf_counter() - began) * 1e6)
    return samples


def _rounds(samples: list[float]) -> list[float]:
    return [statistics.median(samples[at : at + CALLS]) for at in range(0, len(samples), CALLS)]


def _threads(call: Callable[..., Any], threads: int) -> float:
    """Return calls per second."""
    each = 4 * CALLS // threads

    def one(_: int) -> None:
        for _ in range(each):
            call(_key(), 100, "EUR")

    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(one, range(threads)))
        return threads * each / (time.perf_counter() - began)


async def _async(call: Callable[..., Any]) -> float:
    """Return calls per second of many callers on one event loop."""
    each = 16 * CALLS // CALLERS

    async def one() -> None:
        for _ in range(each):
            await call(_key(), 100, "EUR")

    await call(_key(), 100, "EUR")
    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(CALLERS)))
    return CALLERS * each / (time.perf_counter() - began)
