"""Purges: rows a second, and what inserts into the same table feel of it; dropping a day.

Inserts are measured in pairs of slices of one run, one beside a purge and one without, in turns first: what else the
machine does comes to both. Before every slice the server settles, so that none pays for what the one before left. The
median of the pairs' ratios is the verdict; every pair is published.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from bench.plane import folder
from bench.report import Figure, figure, publish
from valhalla.embedded import Stack
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
from valhalla.kit.migrate import upgrade_blocking
from valhalla.kit.settings import Settings
from valhalla.work import Jobs

ROWS = int(os.environ.get("PURGE_ROWS", "2000000"))
PAIRS = int(os.environ.get("PURGE_PAIRS", "5"))
RATE = 500
# the clocks of neighbours
_APART = timedelta(milliseconds=1)
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
    with folder() as data_dir:
        data_dir.mkdir(mode=0o700)
        cell = CellKey.load_or_create(data_dir / "cell.key")
        stack = Stack(data_dir, cell, want=frozenset({"postgres"}))
        try:
            url = stack.start().postgres_superuser_url
            assert url is not None
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("CREATE DATABASE purge TEMPLATE template0")
            url = url.rsplit("/", 1)[0] + "/purge"
            upgrade_blocking(url)
            figures = asyncio.run(_measure(url, cell, data_dir))
        finally:
            stack.stop()
    publish(f"Purges of {ROWS:,} rows", figures)


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
        pairs = [await _pair(feature, url, begin, number) for number in range(PAIRS)]
        ratios = [_p99(pair.beside) / _p99(pair.alone) for pair in pairs]
        figures = [
            figure("purged, with proof", "rows/s", [ROWS // PAIRS / pair.seconds for pair in pairs], floor=50_000),
            figure("an insert, alone", "ms", [each for pair in pairs for each in pair.alone]),
            figure("an insert, beside the purge", "ms", [each for pair in pairs for each in pair.beside]),
            figure("p99 of inserts: times as long", "x", ratios, 1.5),
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


async def _pair(feature: Retention, url: str, begin: datetime, number: int) -> _Pair:
    """Purge the next part of the table; its twin is measured before or after, in turns."""
    size = ROWS // PAIRS
    cutoff = begin + _APART * size * (number + 1)
    if number % 2 == 0:
        seconds, beside = await _purge(feature, url, cutoff, size)
        alone = await _inserts(url, asyncio.sleep(seconds))
    else:
        # as long as the purge would take at the least rate that is promised
        alone = await _inserts(url, asyncio.sleep(size / 50_000))
        seconds, beside = await _purge(feature, url, cutoff, size)
    return _Pair(alone, beside, seconds)


async def _purge(feature: Retention, url: str, cutoff: datetime, rows: int) -> tuple[float, list[float]]:
    purge = await feature.service.confirmed(SYSTEM, "events", cutoff, rows, "bench")
    began = 0.0

    async def work() -> None:
        nonlocal began
        began = time.perf_counter()
        await feature.purger.execute(purge.id)
        began = time.perf_counter() - began

    beside = await _inserts(url, work())
    assert (await feature.service.get(SYSTEM, purge.id)).rows == rows
    return began, beside


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


async def _inserts(url: str, meanwhile: Coroutine[Any, Any, None]) -> list[float]:
    """Insert at a steady rate while something is done; return milliseconds.

    In a process of its own: an insert waits for the server, and not for the event loop of who purges.
    """
    await asyncio.to_thread(_settle, url)
    command = [sys.executable, "-m", "bench.purge", url]
    child = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=2**24)
    try:
        assert child.stdout is not None
        assert await child.stdout.readline() == b"ready\n"
        await meanwhile
        told, _ = await child.communicate(b"enough\n")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return json.loads(told)


def _insert_until_told(url: str) -> None:
    found: list[float] = []
    with psycopg.connect(url, autocommit=True) as connection:
        # what a session does once is no insert
        for number in range(10):
            connection.execute(_NEW, (str(number),), prepare=True)
        print("ready", flush=True)
        while not select.select([sys.stdin], [], [], 1 / RATE)[0]:
            begin = time.perf_counter()
            connection.execute(_NEW, (str(len(found)),), prepare=True)
            found.append((time.perf_counter() - begin) * 1000)
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
