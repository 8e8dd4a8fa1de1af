"""Log lines: what one costs its caller, how fast they are written beside a bare COPY, and searches over a million."""

from __future__ import annotations

import asyncio
import io
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from bench.report import Figure, figure, publish
from bench.servers import migrated_database
from valhalla.features.observability.logs import Intake
from valhalla.features.observability.logs.contracts import Filter, Raw
from valhalla.features.observability.logs.service import LogService
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import SYSTEM
from valhalla.kit import partitions
from valhalla.kit.correlation import correlated
from valhalla.kit.db import Database
from valhalla.kit.log import configure, get_logger, tap, untap

ROWS = 1_000_000
WRITTEN = 100_000
ROUNDS = 40
LINES = 5_000
# microseconds and milliseconds
CALLER, SEARCH = 10.0, 50.0
DAYS = 5
# one in a thousand is an error, one in twenty a warning; words of every frequency
FILL = """
    INSERT INTO valhalla.system_logs (at, level, origin, category, message, correlation_id, principal, owner, context)
    SELECT now() - make_interval(secs => n * 0.4), CASE WHEN n %% 1000 = 0 THEN 40 WHEN n %% 20 = 0 THEN 30 ELSE 20 END,
        'server', 'area-' || n %% 50, 'order ' || n || ' of shop ' || n %% 2000 || ' was '
        || (ARRAY['paid', 'packed', 'sent', 'declined'])[1 + n %% 4]
        || CASE WHEN n %% 250000 = 7 THEN ' needle' ELSE '' END,
        'c-' || n / 5, 'client-' || n %% 300, 'owner', jsonb_build_object('n', n)
    FROM generate_series(1, %(rows)s) AS n
"""


def run() -> None:
    """Start a throw-away Postgres, measure and publish."""
    with migrated_database("logs") as lent:
        figures = asyncio.run(_measure(lent.url, lent.data_dir / "lines"))
    publish("Logs: a line's cost, and searches over a million", figures)


async def _measure(url: str, file: Path) -> list[Figure]:
    db = Database(url)
    try:
        figures = list(_caller(db, file))
        figures += await _writing(db, url)
        await db.run(_days)
        await asyncio.to_thread(_fill, url)
        figures += [one async for one in _searches(db)]
    finally:
        await db.close()
    return figures


def _caller(db: Database, file: Path) -> Iterator[Figure]:
    intake = Intake(db, level="info", clock=Clock(), most=10**9)
    members = {"level": "info", "logger": "bench", "event": "an order was paid", "correlation_id": "c-1", "n": 1}
    yield figure("left for the store, per line", "us", _each(lambda: intake.log(members)), CALLER)
    yield figure(
        "left by the gate, per request",
        "us",
        _each(lambda: intake.access("GET", "/api/x", 200, 0.001, "c-1", "p", trace_id="t", address="a")),
        CALLER,
    )
    log = get_logger("bench")
    configure(level="info", file=file)
    with correlated("c-1"):
        yield figure("a whole line to a file, alone", "us", _each(lambda: log.info("an order was paid", n=1)))
        with _tapped(intake):
            yield figure("a whole line to a file, and stored", "us", _each(lambda: log.info("an order was paid", n=1)))
    configure()


@contextmanager
def _tapped(intake: Intake) -> Iterator[None]:
    tap(intake.log)
    try:
        yield
    finally:
        untap(intake.log)


def _each(work: Any) -> list[float]:
    """Return microseconds per call, of ten batches."""
    found: list[float] = []
    for _ in range(10):
        begin = time.perf_counter()
        for _ in itertools.repeat(None, LINES):
            work()
        found.append((time.perf_counter() - begin) / LINES * 1e6)
    return found


async def _writing(db: Database, url: str) -> list[Figure]:
    now = time.time()
    made = [
        Raw(now, "server", {"level": "info", "logger": "bench", "event": f"order {n} was paid", "n": n})
        for n in range(WRITTEN)
    ]
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(3):
        intake = Intake(db, level="info", clock=Clock(), most=10**9)
        for raw in made:
            intake.batches.put(raw)
        begin = time.perf_counter()
        await intake.batches.flush()
        ours.append((time.perf_counter() - begin) / WRITTEN * 1e6)
        bare.append(await asyncio.to_thread(_copy, url, made))
    await db.run(lambda conn: conn.execute(sa.text("TRUNCATE valhalla.system_logs")))
    return [
        figure("written with all indexes, per line", "us", ours),
        figure("bare COPY without an index, per line", "us", bare),
    ]


def _copy(url: str, made: list[Raw]) -> float:
    text = io.StringIO()
    for raw in made:
        at = datetime.fromtimestamp(raw.at, UTC)
        text.write(f"{at.isoformat()}\t20\tserver\tbench\t{raw.members['event']}\n")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE UNLOGGED TABLE bare (at timestamptz, level int2, origin text, category text, m text)"
        )
        begin = time.perf_counter()
        with connection.cursor().copy("COPY bare FROM STDIN") as copy:
            copy.write(text.getvalue())
        seconds = time.perf_counter() - begin
        connection.execute("DROP TABLE bare")
    return seconds / len(made) * 1e6


def _days(conn: Connection) -> None:
    today = datetime.now(UTC).date()
    partitions.ensure(conn, "system_logs", [today - timedelta(days=n) for n in range(DAYS + 1)])


def _fill(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILL, {"rows": ROWS})
        connection.execute("VACUUM ANALYZE valhalla.system_logs")


async def _searches(db: Database) -> AsyncIterator[Figure]:
    service = LogService(db, Intake(db, level="info", clock=Clock()), clock=Clock())
    now = datetime.now(UTC)
    wanted = {
        "newest": Filter(),
        "errors": Filter(level="error"),
        "warnings of one category": Filter(level="warning", category="area-40"),
        "one correlation id": Filter(correlation_id="c-123456"),
        "one principal": Filter(principal="client-77"),
        "a frequent word": Filter(text="declined"),
        "a word of one in 2000": Filter(text="shop 1234"),
        "a word of four lines": Filter(text="needle"),
        "a word that never occurs": Filter(text="zebra"),
        "a frequent word of one principal": Filter(text="declined", principal="client-99"),
        "an hour three days ago": Filter(since=now - timedelta(days=3, hours=1), until=now - timedelta(days=3)),
        "errors that never occurred": Filter(level="critical"),
    }
    for name, one in wanted.items():
        found: list[float] = []
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            await service.page(SYSTEM, one, limit=50, cursor=None)
            found.append((time.perf_counter() - begin) * 1000)
        yield figure(f"search: {name}", "ms", found, SEARCH)
