"""One check of a limit, in memory: ours, in its two kinds, against limits, throttled-py and pyrate-limiter.

All count per key and allow a million a day, so that every check is admitted and every key stays live. The peers take
turns. Of each, the fastest way that its documentation shows is taken: limiter and limit made beforehand, only the key
comes with the call.
"""

from __future__ import annotations

import random
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable

from bench.governor_peers import PEERS, Check
from bench.report import Figure, figure, publish
from valhalla.guard.governor import Governor, Limit

ROUNDS = 9
CALLS = 10_000
KEYS = 100_000
SIZES = (10, 1_000, 100_000, 1_000_000)


def run() -> None:
    """Measure and publish."""
    keys = [f"user:{number}" for number in range(SIZES[-1])]
    publish(
        "Governor: one check",
        [*_times(keys[:KEYS]), *_deny(), *_memory(keys[:KEYS]), *_threads(), *_flat(keys), *_pauses(keys)],
    )


def ours(kind: str = "gcra", capacity: int = 1_000_000) -> Check:
    """Return a bound check of ours."""
    return Governor({"api": Limit(capacity=capacity, window=86_400, kind=kind)}).bind("api")  # type: ignore[arg-type]


def _lasting() -> Check:
    """Return a check whose buckets stay live for as long as a measurement takes: one unit is back after 17 s."""
    limit = Limit(capacity=100_000, window=10 * 86_400, kind="gcra")
    return Governor({"api": limit}).bind("api")


def _floor() -> Check:
    """Return the least that counts at all, on one thread: read a number, add to it, write it."""
    counts: dict[str, float] = {}

    def check(key: str) -> bool:
        now = time.monotonic()
        found = counts.get(key, now)
        counts[key] = (found if found > now else now) + 1e-9  # noqa: FURB136 - a call would be dearer
        return found < now + 1

    return check


def _makers() -> dict[str, Callable[[], Check]]:
    return {"valhalla gcra": ours, "valhalla exact": lambda: ours("exact"), **PEERS}


def _times(keys: list[str]) -> list[Figure]:
    """µs per check, as the mean of a batch: on one key, and on 100,000 that are met in any order."""
    checks = {name: (make(), make()) for name, make in {**_makers(), "floor: a dict, no lock": _floor}.items()}
    for _, many in checks.values():
        _each(many, keys)
    one: dict[str, list[float]] = {name: [] for name in checks}
    spread: dict[str, list[float]] = {name: [] for name in checks}
    for _ in range(ROUNDS):
        some = random.sample(keys, CALLS)
        for name, (single, many) in checks.items():
            one[name].append(_each(single, ["key"] * CALLS))
            spread[name].append(_each(many, some))
    floor = spread["floor: a dict, no lock"]
    return [
        *(
            line
            for name in checks
            for line in (
                figure(f"{name}, one key", "us", one[name], _goal(name, 0.5)),
                figure(f"{name}, {KEYS:,} keys", "us", spread[name], _goal(name, 0.5)),
            )
        ),
        # met in any order, most keys are in no cache: what the processor waits for, the floor waits for too
        *(
            figure(
                f"valhalla {kind} / floor, {KEYS:,} keys",
                "x",
                [ours / least for ours, least in zip(spread[f"valhalla {kind}"], floor, strict=True)],
            )
            for kind in ("gcra", "exact")
        ),
    ]


def _deny() -> list[Figure]:
    made: list[Figure] = []
    for kind in ("gcra", "exact"):
        check = ours(kind, capacity=2)
        samples = [_each(check, ["key"] * CALLS) for _ in range(ROUNDS)]
        made.append(figure(f"valhalla {kind}, refused", "us", samples))
    governor = Governor({"api": ["1000000/day", "900000/hour"]}, unknown="deny")
    two = governor.bind("api")
    made.append(figure("valhalla, two limits or none", "us", [_each(two, ["key"] * CALLS) for _ in range(ROUNDS)]))
    return made


def _memory(keys: list[str]) -> list[Figure]:
    """Bytes per key that was met once, without the caller's own text."""
    made: list[Figure] = []
    for name, make in _makers().items():
        check = make()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        _each(check, keys)
        weight = (tracemalloc.get_traced_memory()[0] - before) / len(keys)
        tracemalloc.stop()
        made.append(figure(f"{name}, per key", "B", [weight], 64.0 if name == "valhalla gcra" else None))
    return made


def _threads() -> list[Figure]:
    """Checks per second of all threads together: as many as one thread makes is all that the interpreter permits."""
    made: list[Figure] = []
    for name in ("valhalla gcra", "valhalla exact", "limits fixed window", "throttled-py gcra", "pyrate-limiter gcra"):
        for count in (1, 4):
            make = _makers()[name]
            samples = [_together(make(), count) / 1e6 for _ in range(3)]
            made.append(figure(f"{name}, {count} threads, one key", "M/s", samples))
    return made


def _together(check: Check, count: int, each: int = 60_000) -> float:
    start = threading.Barrier(count + 1)

    def work() -> None:
        start.wait()
        for _ in range(each // count):
            check("key")

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    # before the barrier falls: whoever passes it first may be done before we are told
    began = time.perf_counter()
    start.wait()
    for thread in threads:
        thread.join()
    return each / (time.perf_counter() - began)


def _flat(keys: list[str]) -> list[Figure]:
    """µs per check while more and more keys are live.

    On the same few keys it tells what the governor does; on keys out of all of them it tells what the processor does
    too, which finds less and less of them in its caches (a bare dictionary shows the same).
    """
    made: list[Figure] = []
    for size in SIZES:
        check = _lasting()
        bare: dict[str, float] = {}
        _each(check, keys[:size])
        _each(lambda key, bare=bare: bare.__setitem__(key, 1.0), keys[:size])
        few = keys[: min(size, 1000)]
        same = [random.choices(few, k=CALLS) for _ in range(ROUNDS)]
        some = [random.choices(keys[:size], k=CALLS) for _ in range(ROUNDS)]
        made += [
            figure(f"{size:,} live keys, on {len(few):,} of them", "us", [_each(check, s) for s in same], 0.5),
            figure(f"{size:,} live keys, on all of them", "us", [_each(check, s) for s in some]),
            figure(f"{size:,} keys in a bare dict", "us", [_each(bare.__getitem__, s) for s in some]),
        ]
    return made


def _pauses(keys: list[str]) -> list[Figure]:
    """The longest single check while a million keys come in: no call stops to clean up, or to grow everything."""
    check = _lasting()
    clock = time.perf_counter
    longest: list[float] = []
    for begin in range(0, len(keys), 10_000):
        worst = 0.0
        for key in keys[begin : begin + 10_000]:
            before = clock()
            check(key)
            worst = max(worst, clock() - before)
        longest.append(worst * 1000)
    return [figure("longest check of each 10,000 new keys", "ms", longest)]


def _each(check: Callable[[str], object], keys: Iterable[str]) -> float:
    """Return µs per call."""
    keys = list(keys)
    before = time.perf_counter()
    for key in keys:
        check(key)
    return (time.perf_counter() - before) / len(keys) * 1e6


def _goal(name: str, goal: float) -> float | None:
    return goal if name.startswith("valhalla") else None
