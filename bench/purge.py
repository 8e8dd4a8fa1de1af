"""Purges: rows a second, and what inserts into the same table feel of it; dropping a day.

One process inserts all the time, while a purge works in every other slice of about two seconds, and each of the two in
turns first: what else the machine does comes to both. The verdict is the p99 of all inserts beside a purge to that of
all others: the p99 of one slice is its ten slowest inserts, and says more of the machine than of the purge. How far
chance moves the verdict is published beside it: the pairs of slices are drawn anew a thousand times.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from bench.report import Figure, figure, publish
from bench.servers import migrated_database
from valhalla.features.contracts import Platform
from valhalla.features.data.exports import Exports
from valhalla.features.data.retention import Policy, Retention, store
from valhalla.features.observability.logs.tables import TABLE
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import SYSTEM
from valhalla.kit import partitions
from valhalla.kit.cellkey import CellKey
from valhalla.kit.changes import Feed
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.settings import Settings
from valhalla.work import Jobs

ROWS = int(os.environ.get("PURGE_ROWS", "4000000"))
PAIRS = int(os.environ.get("PURGE_PAIRS", "40"))
RATE = 500
# the clocks of neighbours
_APART = timedelta(milliseconds=1)
# seconds between two slices that belong to neither
_BETWEEN = 0.25
_REDRAWN = 1000
DAY_ROWS = (1_000, 100_000, 500_000)
_OLD = """
    INSERT INTO valhalla.events (uid, subject, type, data, at, sent_at)
    SELECT 'u' || n, 'bench.' || n %% 1000, 'bench', jsonb_build_object('n', n), %(begin)s,
        %(begin)s + make_interval(secs => (n - 1) * 0.001)
    FROM generate_series(1, %(rows)s) AS n
"""
_NEW = "INSERT INTO valhalla.events (uid, subject, type, data, at) VALUES (%s, 'bench', 'bench', '{}', now())"
_DAY = """
    INSERT INTO valhalla.system_logs (at, level, origin, category, message)
    SELECT %(day)s + make_interval(secs => n * 0.1), 20, 'server', 'bench', 'line ' || n
    FROM generate_series(1, %(rows)s) AS n
"""


def run() -> None:
    """Start a throw-away Postgres, measure and publish."""
    with migrated_database("purge") as lent:
        figures = asyncio.run(_measure(*lent))
    publish("Purges", figures)


async def _measure(url: str, cell: CellKey, data_dir: Path) -> list[Figure]:
    db = Database(url)
    jobs, ledger = Jobs(), Ledger(cell)
    platform = Platform(Settings(data_dir=data_dir), cell, Clock(), db, ledger, Feed(db), jobs, lambda _: None)

    async def ask(*_args: Any, **_named: Any) -> Any:
        raise AssertionError("nothing is asked")

    feature = Retention(platform, Exports(platform), ask=ask)
    try:
        begin = datetime.now(UTC) - timedelta(days=30)
        await asyncio.to_thread(_fill, url, _OLD, {"rows": ROWS, "begin": begin})
        await db.run(feature.policies.put, "events", Policy("events", days=7, max_share=1.0), actor="bench")
        pairs = await _pairs(feature, url, begin)
        figures = [
            figure(
                f"purged, of {ROWS:,} rows, with proof",
                "rows/s",
                [ROWS // PAIRS / pair.seconds for pair in pairs],
                floor=50_000,
            ),
            figure("an insert, alone", "ms", [each for pair in pairs for each in pair.alone]),
            figure("an insert, beside the purge", "ms", [each for pair in pairs for each in pair.beside]),
            figure("p99 of inserts: times as long", "x", [_times(pairs)], 1.5),
            figure("p99 of inserts: if chance had drawn other slices", "x", _redrawn(pairs)),
        ]
        for rows in DAY_ROWS:
            figures += await _drop(db, feature, url, rows)
    finally:
        await feature.stop()
        await db.close()
    return figures


@dataclass(frozen=True)
class _Pair:
    """Milliseconds of inserts in two slices as long as each other, and the ``seconds`` that the purge took."""

    alone: list[float]
    beside: list[float]
    seconds: float


async def _pairs(feature: Retention, url: str, begin: datetime) -> list[_Pair]:
    """Purge the table part by part; each part's twin, as long without a purge, is before or after it, in turns."""
    size, spans = ROWS // PAIRS, list[tuple[tuple[float, float], tuple[float, float]]]()
    await asyncio.to_thread(_settle, url)
    async with _inserting(url) as told:
        # as long as a part takes at the least rate that is promised
        lasts = size / 50_000
        for number in range(PAIRS):
            cutoff = begin + _APART * size * (number + 1)
            if number % 2 == 0:
                beside = await _span(await _purge(feature, cutoff, size))
                alone = await _span(asyncio.sleep(lasts))
            else:
                alone = await _span(asyncio.sleep(lasts))
                beside = await _span(await _purge(feature, cutoff, size))
            spans.append((alone, beside))
    found = told()
    return [_Pair(_within(found, alone), _within(found, beside), beside[1] - beside[0]) for alone, beside in spans]


async def _span(work: Coroutine[Any, Any, Any]) -> tuple[float, float]:
    await asyncio.sleep(_BETWEEN)
    began = time.monotonic()
    await work
    return began, time.monotonic()


def _within(found: Sequence[tuple[float, float]], span: tuple[float, float]) -> list[float]:
    """Return the milliseconds of what began in a span."""
    return [lasted for at, lasted in found if span[0] <= at < span[1]]


async def _purge(feature: Retention, cutoff: datetime, rows: int) -> Coroutine[Any, Any, None]:
    purge = await feature.service.confirmed(SYSTEM, "events", cutoff, rows, "bench")

    async def work() -> None:
        await feature.purger.execute(purge.id)
        assert (await feature.service.get(SYSTEM, purge.id)).rows == rows

    return work()


def _times(pairs: Sequence[_Pair]) -> float:
    beside = [each for pair in pairs for each in pair.beside]
    return _p99(beside) / _p99([each for pair in pairs for each in pair.alone])


def _redrawn(pairs: Sequence[_Pair]) -> list[float]:
    """Return the ratios of as many pairs drawn with replacement (bootstrap over blocks, Efron 1979, Künsch 1989)."""
    return [_times(random.choices(pairs, k=len(pairs))) for _ in range(_REDRAWN)]


def _p99(samples: list[float]) -> float:
    return statistics.quantiles(samples, n=100)[98]


def _fill(url: str, text: str, values: dict[str, Any]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(text, values)
        connection.execute("VACUUM ANALYZE valhalla.events")


def _settle(url: str) -> None:
    """Do now what the server would do in the next slice because of the one before."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE valhalla.events")
        connection.execute("CHECKPOINT")


@asynccontextmanager
async def _inserting(url: str) -> AsyncIterator[Callable[[], list[tuple[float, float]]]]:
    """Insert at a steady rate all the while; what is yielded returns, at the end, when each began and its milliseconds.

    In a process of its own: an insert waits for the server, and not for the event loop of who purges.
    """
    command = [sys.executable, "-m", "bench.purge", url]
    child = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=2**26)
    found = list[tuple[float, float]]()
    try:
        assert child.stdout is not None
        assert await child.stdout.readline() == b"ready\n"
        yield lambda: found
        told, _ = await child.communicate(b"enough\n")
        found.extend(json.loads(told))
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def _insert_until_told(url: str) -> None:
    found: list[tuple[float, float]] = []
    with psycopg.connect(url, autocommit=True) as connection:
        # what a session does once is no insert
        for number in range(10):
            connection.execute(_NEW, (str(number),), prepare=True)
        print("ready", flush=True)
        while not select.select([sys.stdin], [], [], 1 / RATE)[0]:
            begin = time.monotonic()
            connection.execute(_NEW, (str(len(found)),), prepare=True)
            found.append((begin, (time.monotonic() - begin) * 1000))
    print(json.dumps(found))


async def _drop(db: Database, feature: Retention, url: str, rows: int) -> list[Figure]:
    """Measure a drop, without the count before it: the statement, while which readers wait, and with its commit all.

    The server lets readers go before it removes the files, which takes the longer the larger they are.
    """
    day = (datetime.now(UTC) - timedelta(days=40)).date()
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    await db.run(partitions.ensure, TABLE, [day])
    await asyncio.to_thread(_fill, url, _DAY, {"rows": rows, "day": start})
    name = store.partition(feature.categories.get("logs"), day)

    def work(conn: sa.Connection) -> float:
        begin = time.perf_counter()
        conn.execute(sa.text(f"DROP TABLE {name}"))
        return (time.perf_counter() - begin) * 1000

    begin = time.perf_counter()
    waited = await db.run(work)
    whole = (time.perf_counter() - begin) * 1000
    return [
        figure(f"a day of {rows:,} lines: readers wait", "ms", [waited]),
        figure(f"a day of {rows:,} lines: dropped, files gone", "ms", [whole]),
    ]


if __name__ == "__main__":
    _insert_until_told(sys.argv[1])
