"""One guarded call in memory, beside the libraries composed to do the same work; all take turns in each round."""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.guard_peers import composed
from bench.report import Figure, figure, publish
from valhalla.guard import Governor, Guard
from valhalla.guard.governor import Limit

ROUNDS = 12
CALLS = 2000
LIVE = (10, 100_000, 1_000_000)
Call = Callable[[str, int, str], Any]

_numbers = itertools.count()


def work(order: str, amount: int, currency: str) -> dict[str, str]:
    """The effect: nothing, so that what is measured is the guard."""
    return {"id": order}


def run() -> None:
    """Measure and publish."""
    timer = _timer()
    made = _variants()
    samples: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(ROUNDS):
        for name, call in made.items():
            samples[name] += _timed(call, list(itertools.islice(_keys(), CALLS)), timer)
        samples.setdefault("replay", []).extend(_timed(made["full"], ["replayed"] * CALLS, timer))
    samples["async full"] = asyncio.run(_async(timer))
    middle = {name: statistics.median(values) for name, values in samples.items()}
    figures = [
        figure("full call, JSON ledger line", "us", samples["full"], goal=4.0),
        figure("full call, sharing one GCRA limit", "us", samples["full gcra"]),
        figure("context + limit + ledger line", "us", samples["light"], goal=1.3),
        figure("replay of a finished call", "us", samples["replay"]),
        figure("general path (holds, deadlines, other stores)", "us", samples["general"]),
        figure("async full call", "us", samples["async full"], goal=1.5 * middle["full"]),
        figure("retry wrapper on success", "us", [middle["light retries"] - middle["light"]], goal=0.15),
        figure("peers composed", "us", samples["peers"]),
        figure("full call, mean CPU with batched writes, purges", "us", [_cpu(_full()) for _ in range(3)]),
        figure("full call / peers", "share", [middle["full"] / middle["peers"]], goal=1 / 25),
        _threads(),
        *_live(timer),
    ]
    publish("Guard: one call in memory", figures)
    print(f"peers / full call: {middle['peers'] / middle['full']:.1f}; load {os.getloadavg()[0]:.1f}")


def _variants() -> dict[str, Call]:
    return {
        "bare": work,
        "full": _full(),
        "full gcra": _full(kind="gcra"),
        "light": _guard().action("light", effect="none", limit=_limit())(work),
        "light retries": _guard().action("light", effect="none", limit=_limit(), retries=3)(work),
        "general": _full(fused=False),
        "peers": composed(work),
    }


def _limit(kind: str = "exact") -> Limit:
    # an exact limit remembers each unit, so it ends at a million
    capacity = 1_000_000 if kind == "exact" else 1_000_000_000
    return Limit(capacity=capacity, window=3600, kind=kind)  # pyright: ignore[reportArgumentType]


def _guard(*, fused: bool = True) -> Guard:
    sink = Path(os.devnull).open("ab", buffering=0).write  # noqa: SIM115 - lives as long as the guard
    return Guard(governor=Governor(), sink=sink, fused=fused)


def _full(*, kind: str = "exact", fused: bool = True) -> Call:
    options: dict[str, Any] = {"key": "order", "limit": _limit(kind), "retries": 3, "effect": "idempotent"}
    return _guard(fused=fused).action("payment", **options)(work)


def _keys() -> Iterator[str]:
    return (f"order-{next(_numbers)}" for _ in itertools.count())


def _timer() -> float:
    clock = time.perf_counter_ns
    return statistics.median(-(clock() - clock()) for _ in range(10_000))


def _timed(call: Call, keys: list[str], timer: float) -> list[float]:
    clock = time.perf_counter_ns
    samples: list[float] = []
    for key in keys:
        began = clock()
        call(key, 100, "EUR")
        samples.append((clock() - began - timer) / 1000)
    return samples


def _cpu(call: Call) -> float:
    """Return the mean of the thread's own time: what the median leaves out, without what other processes take."""
    keys = list(itertools.islice(_keys(), 20_000))
    began = time.thread_time()
    for key in keys:
        call(key, 100, "EUR")
    return (time.thread_time() - began) / len(keys) * 1e6


async def _async(timer: float) -> list[float]:
    guard = _guard()

    @guard.action("payment", key="order", limit=_limit(), retries=3, effect="idempotent")
    async def pay(order: str, amount: int, currency: str) -> dict[str, str]:
        return {"id": order}

    clock = time.perf_counter_ns
    samples: list[float] = []
    for key in itertools.islice(_keys(), ROUNDS * CALLS):
        began = clock()
        await pay(key, 100, "EUR")
        samples.append((clock() - began - timer) / 1000)
    return samples


def _threads() -> Figure:
    """Return the share of time that 4 threads take of what the peers take for the same calls."""
    shares: list[float] = []
    ours, peers = _full(), composed(work)
    for _ in range(3):
        seconds = [_four(call) for call in (ours, peers)]
        shares.append(seconds[0] / seconds[1])
    return figure("4 threads: full call / peers", "share", shares, goal=1 / 30)


def _four(call: Call) -> float:
    batches = [list(itertools.islice(_keys(), CALLS)) for _ in range(4)]

    def one(keys: list[str]) -> None:
        for key in keys:
            call(key, 100, "EUR")

    with ThreadPoolExecutor(4) as pool:
        began = time.perf_counter()
        list(pool.map(one, batches))
        return time.perf_counter() - began


def _live(timer: float) -> list[Figure]:
    """Measure calls beside ever more live keys."""
    call, live, figures = _full(kind="gcra"), 0, list[Figure]()
    for wanted in LIVE:
        for key in itertools.islice(_keys(), max(0, wanted - live)):
            call(key, 100, "EUR")
        live = wanted + CALLS
        samples = _timed(call, list(itertools.islice(_keys(), CALLS)), timer)
        figures.append(figure(f"full call beside {wanted:,} live keys", "us", samples))
    return figures
