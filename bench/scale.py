"""Many live sandboxes: is a create as fast as among ten, how much memory is it, how many cycles a second last.

``BENCH_LIVE`` sets how many live (10,000); making them takes most of the time.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import asyncpg

from bench.load import Caller, resident_megabytes, timed, together
from bench.plane import control, down, folder, up
from bench.pool import SETTINGS, filled
from bench.report import Figure, figure, publish
from bench.sandboxes import bare, connect, unit
from valhalla.kit.scram import verifier

LIVE = int(os.environ.get("BENCH_LIVE", "10000"))
POOL = 300
SAMPLES = 150
WORKERS = 8
SECONDS = 20


def run() -> None:
    """Measure and publish."""
    os.environ |= SETTINGS | {"VALHALLA_POOL_SIZE": str(POOL), "VALHALLA_POOL_RATE": "1000"}
    with folder() as data_dir:
        up(data_dir)
        try:
            figures = asyncio.run(_measure(data_dir))
        finally:
            down(data_dir)
    publish("Scale: among many live sandboxes", figures)


async def _measure(data_dir: Path) -> list[Figure]:
    document = control(data_dir)
    url, pid = document["url"], int(document["pid"])
    key = (data_dir / "admin.key").read_text().strip()
    postgres = await connect(data_dir)
    units = await unit(postgres)
    few = await _creates(url, key, postgres, "few")
    memory_few = resident_megabytes(pid)
    floor = await _bare_cycles(data_dir)
    cycles = await _cycles(url, key)
    made = await _grow(url, key, postgres)
    many = await _creates(url, key, postgres, "many")
    live: int = await postgres.fetchval("SELECT count(*) FROM valhalla.sandboxes WHERE status = 'running'")
    await postgres.close()
    middle = sorted(few)[len(few) // 2]
    return [
        figure("U: one-row INSERT + commit (unit)", "ms", units),
        figure("create, few live", "ms", few),
        figure(f"create, {live} live", "ms", many),
        figure(f"create, {live} live against few", "x", [value / middle for value in many], goal=1.2),
        figure("control plane's memory, few live", "MB", [memory_few]),
        figure(f"control plane's memory, {live} live", "MB", [resident_megabytes(pid)], goal=250),
        figure("create + use + destroy, 8 workers (goal: at least 150)", "1/s", cycles),
        figure("role + schema + tables, use, drop: bare SQL, 8 workers (floor)", "1/s", floor),
        figure("growing: creates per second, pool mostly empty", "1/s", made),
    ]


async def _creates(url: str, key: str, postgres: Any, owner: str) -> list[float]:
    await filled(postgres, POOL)
    # what the last burst left to do is done before the next is timed
    await asyncio.sleep(3)
    caller = await Caller.connect(url, key)
    samples = [await timed(caller.create(f"{owner}{index}")) for index in range(SAMPLES)]
    caller.close()
    return samples


async def _cycles(url: str, key: str) -> list[float]:
    """Return whole cycles per second, one sample per second, the first three left out."""
    done: deque[float] = deque()
    until = time.perf_counter() + SECONDS
    numbers = itertools.count()

    async def work(caller: Caller) -> list[float]:
        while time.perf_counter() < until:
            sandbox = await caller.create(f"cycle{next(numbers)}")
            session = await asyncpg.connect(sandbox["connection"]["postgres"]["url"])
            await session.execute("INSERT INTO communities (name) VALUES ('x')")
            await session.close()
            await caller.destroy(sandbox["id"])
            done.append(time.perf_counter())
        return []

    started = time.perf_counter()
    await together(url, key, WORKERS, work)
    return _per_second(done, started)


async def _bare_cycles(data_dir: Path) -> list[float]:
    """Return what the same server does a second without us: one slice, no registry, no pool, nothing durable but it."""
    done: deque[float] = deque()
    password = verifier("secret")
    admin = await connect(data_dir)
    await admin.execute("CREATE DATABASE bench_floor")
    started = time.perf_counter()

    async def work() -> None:
        admin = await connect(data_dir, database="bench_floor")
        while time.perf_counter() < started + SECONDS:
            name = f"bench_{secrets.token_hex(6)}"
            await admin.execute(bare(name, password))
            session = await connect(data_dir, database="bench_floor", user=name, password="secret")
            await session.execute(f"INSERT INTO {name}.communities (name) VALUES ('x')")
            await session.close()
            await admin.execute(f"DROP SCHEMA {name} CASCADE; DROP ROLE {name}")
            done.append(time.perf_counter())
        await admin.close()

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    await admin.execute("DROP DATABASE bench_floor")
    await admin.close()
    return _per_second(done, started)


def _per_second(done: Iterable[float], started: float) -> list[float]:
    """Return how many ended in each second; the first three are left out."""
    times = [at - started for at in done]
    return [float(sum(1 for at in times if n <= at < n + 1)) for n in range(3, SECONDS)]


async def _grow(url: str, key: str, postgres: Any) -> list[float]:
    rates: list[float] = []
    query = "SELECT count(*) FROM valhalla.sandboxes WHERE status = 'running'"
    numbers = itertools.count()
    live: int = await postgres.fetchval(query)
    while live < LIVE:
        share = iter(range(min(500, LIVE - live)))

        async def work(caller: Caller, share: Any = share) -> list[float]:
            return [await timed(caller.create(f"grow{next(numbers)}")) for _ in share]

        samples, seconds = await together(url, key, WORKERS, work)
        rates.append(len(samples) / seconds)
        live += len(samples)
    return rates or [0.0]
