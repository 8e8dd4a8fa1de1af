"""What people use instead, on the same template and one Postgres 18: get, first query, and a sustained rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import psycopg

from bench.peer_cluster import cluster_times
from bench.peer_kinds import KINDS, Peer, clear, prepare
from bench.peer_services import READY, integresql, valhalla
from bench.report import Figure, figure, publish
from bench.servers import postgres_alone

N = 40
SECONDS = 5
CALLERS = 4
TURNS = 4


@dataclass
class _Samples:
    """Milliseconds of one peer; ``first`` is from the call of get to the answer of the first query."""

    get: list[float] = field(default_factory=list[float])
    first: list[float] = field(default_factory=list[float])
    drop: list[float] = field(default_factory=list[float])


def run() -> None:
    """Start a throw-away Postgres, measure and publish."""
    with postgres_alone() as lent:
        figures = asyncio.run(peers(lent.url))
    publish("Peers: the same template, what people use", figures)


async def peers(superuser_url: str) -> list[Figure]:
    """Measure every peer against a server; names start with the peer, ``get`` and ``first query`` are in ms.

    ``sustained`` is completed get + connect + insert + drop per second with four callers, one sample per second.
    One that cannot run is reported on the terminal and left out.
    """
    return await asyncio.to_thread(_measure, superuser_url)


def _measure(url: str) -> list[Figure]:
    prepare(url)
    try:
        figures = [figure("U: one-row INSERT + commit (unit)", "ms", _unit(url))]
        alone = {name: _Samples() for name in KINDS}
        # in turns, so that a noisy minute of the machine hits all of them and not one
        for _ in range(TURNS):
            for name, kind in KINDS.items():
                _alone(partial(kind, url), alone[name])
        for name, kind in KINDS.items():
            figures += [
                figure(f"{name}, get", "ms", alone[name].get),
                figure(f"{name}, to the first query", "ms", alone[name].first),
                figure(f"{name}, drop", "ms", alone[name].drop),
                figure(f"{name}, sustained", "1/s", _sustained(partial(kind, url))),
            ]
    finally:
        clear(url)
    return [*figures, *_services(url), *_cluster()]


def _services(url: str) -> list[Figure]:
    """Measure what keeps databases ready; ``drained`` is a get of one caller among four who outrun what is made."""
    figures: list[Figure] = []
    for name, service in (("Valhalla", valhalla()), ("IntegreSQL", integresql(url))):
        try:
            with service as kind:
                samples = _Samples()
                for _ in range(TURNS):
                    _alone(kind, samples)
                figures += [
                    figure(f"{name}, get", "ms", samples.get),
                    figure(f"{name}, to the first query", "ms", samples.first),
                    figure(f"{name}, drop", "ms", samples.drop),
                    figure(f"{name}, sustained", "1/s", _sustained(kind)),
                    figure(f"{name}, worst get while drained", "ms", _drained(kind)),
                ]
        except RuntimeError as error:
            print(f"{name} does not run here: {error}")
    return figures


def _drained(kind: Callable[[], Peer]) -> list[float]:
    """Return the slowest get of each caller; together they ask at once for four times what is kept ready."""
    slowest: list[float] = []

    def work() -> None:
        peer, worst = kind(), 0.0
        try:
            for _ in range(READY):
                started = time.perf_counter()
                dsn = peer.get()
                worst = max(worst, _since(started))
                peer.drop(dsn)
        finally:
            peer.close()
        slowest.append(worst)

    _together(work)
    return slowest


def _together(work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(CALLERS) as threads:
        for done in [threads.submit(work) for _ in range(CALLERS)]:
            done.result()


def _alone(kind: Callable[[], Peer], into: _Samples) -> None:
    """Measure one caller that has the server to itself."""
    peer = kind()
    try:
        for _ in range(N // TURNS):
            started = time.perf_counter()
            dsn = peer.get()
            into.get.append(_since(started))
            _use(dsn)
            into.first.append(_since(started))
            started = time.perf_counter()
            peer.drop(dsn)
            into.drop.append(_since(started))
    finally:
        peer.close()


def _use(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO communities (name) VALUES ('bench')")


def _sustained(kind: Callable[[], Peer]) -> list[float]:
    """Return completed cycles of each second; the first second, in which everybody starts at once, is left out."""
    done: list[float] = []
    start = time.monotonic()
    end = start + SECONDS + 1

    def work() -> None:
        peer = kind()
        try:
            while time.monotonic() < end:
                dsn = peer.get()
                try:
                    _use(dsn)
                except psycopg.OperationalError as error:
                    # IntegreSQL may drop what it has just lent when more is asked for than it keeps
                    print(f"no completed cycle: {error}".partition("\n")[0])
                else:
                    done.append(time.monotonic() - start)
                peer.drop(dsn)
        finally:
            peer.close()

    _together(work)
    return [float(sum(second <= at < second + 1 for at in done)) for second in range(1, SECONDS + 1)]


def _cluster() -> list[Figure]:
    name = "testing.postgresql (own cluster, fsync off)"
    try:
        times = cluster_times()
    except (RuntimeError, OSError, ImportError) as error:
        print(f"{name} does not run here: {error}")
        return []
    return [
        figure(f"{name}, get", "ms", times["get"]),
        figure(f"{name}, to the first query", "ms", times["first"]),
        figure(f"{name}, sustained, one caller", "1/s", [1000 / value for value in times["cycle"]]),
    ]


def _unit(url: str) -> list[float]:
    samples: list[float] = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE bench_peer_unit (id int)")
        for _ in range(300):
            started = time.perf_counter()
            connection.execute("INSERT INTO bench_peer_unit VALUES (1)", prepare=True)
            samples.append(_since(started))
        connection.execute("DROP TABLE bench_peer_unit")
    return samples


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    run()
