"""Purges: rows a second, and what inserts into the same table feel of it; dropping a day."""

from __future__ import annotations

import asyncio
import json
import os
import select
import statistics
import sys
import time
from asyncio.subprocess import PIPE
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

ROWS = int(os.environ.get("PURGE_ROWS", "1000000"))
QUIET = 5.0
RATE = 500
DAY_ROWS = (1_000, 100_000, 500_000)
_OLD = """
    INSERT INTO valhalla.events (uid, subject, type, data, at, sent_at)
    SELECT 'u' || n, 'bench.' || n %% 1000, 'bench', jsonb_build_object('n', n), now() - interval '30 days',
        now() - interval '30 days' + make_interval(secs => n * 0.001)
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
        await asyncio.to_thread(_fill, url, _OLD, {"rows": ROWS})
        await db.run(feature.policies.put, "events", Policy("events", days=7, max_share=1.0), actor="bench")
        alone = await _inserts(url, asyncio.create_task(asyncio.sleep(QUIET)))
        asked = await feature.service.request(SYSTEM, "events", reason="bench")
        assert asked.purge is not None
        begin = time.perf_counter()
        purging = asyncio.create_task(feature.purger.execute(asked.purge.id))
        beside = await _inserts(url, purging)
        seconds = time.perf_counter() - begin
        assert (await feature.service.get(SYSTEM, asked.purge.id)).rows == ROWS
        quiet, busy = (statistics.quantiles(found, n=100)[98] for found in (alone, beside))
        figures = [
            figure("purged, with proof", "rows/s", [ROWS / seconds], floor=50_000),
            figure("an insert, alone", "ms", alone),
            figure("an insert, beside the purge", "ms", beside),
            figure("p99 of inserts: times as long", "x", [busy / quiet], 1.5),
        ]
        for rows in DAY_ROWS:
            figures += await _drop(db, feature, url, rows)
    finally:
        await feature.stop()
        await db.close()
    return figures


def _fill(url: str, text: str, values: dict[str, Any]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(text, values)
        connection.execute("VACUUM ANALYZE valhalla.events")


async def _inserts(url: str, until: asyncio.Task[Any]) -> list[float]:
    """Insert at a steady rate until a task ends; return milliseconds.

    In a process of its own: an insert waits for the server, and not for the event loop of who purges.
    """
    command = [sys.executable, "-m", "bench.purge", url]
    child = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=2**24)
    try:
        await until
        told, _ = await child.communicate(b"enough\n")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return json.loads(told)


def _insert_until_told(url: str) -> None:
    found: list[float] = []
    with psycopg.connect(url, autocommit=True) as connection:
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
