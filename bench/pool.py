"""Creating from a full pool, over HTTP and in the service, beside the unit and beside what people use instead."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import httpx

from bench.plane import control, down, folder, up
from bench.report import Figure, figure, publish
from bench.sandboxes import connect, unit

POOL = 400
CALLERS = 64
BURST = 384


def run() -> None:
    """Measure and publish."""
    os.environ |= {
        "VALHALLA_POOL_SIZE": str(POOL),
        "VALHALLA_POOL_RATE": "300",
        "VALHALLA_MAX_SANDBOXES_PER_OWNER": "100000",
        "VALHALLA_ACCESS_LOG": "false",
    }
    with folder() as data_dir:
        up(data_dir)
        try:
            figures, note = asyncio.run(_measure(data_dir))
        finally:
            down(data_dir)
    publish("Pool: create from a full pool", figures)
    print(note)


async def _measure(data_dir: Path) -> tuple[list[Figure], str]:
    document = control(data_dir)
    postgres = await connect(data_dir)
    units = await unit(postgres)
    key = (data_dir / "admin.key").read_text().strip()
    limits = httpx.Limits(max_connections=CALLERS, max_keepalive_connections=CALLERS)
    async with httpx.AsyncClient(
        base_url=document["url"], headers={"Authorization": f"Bearer {key}"}, timeout=60, limits=limits
    ) as client:
        await _filled(postgres)
        empty = [await _timed(client.get("/live")) for _ in range(100)]
        single = [await _timed(_create(client, f"single{index}")) for index in range(100)]
        await _filled(postgres)
        started = time.perf_counter()
        waits = await _burst(client)
        seconds = time.perf_counter() - started
    await postgres.close()
    middle = sorted(units)[len(units) // 2]
    rate = BURST / seconds
    note = f"burst: {BURST} creates by {CALLERS} callers in {seconds:.2f} s = {rate:.0f}/s, one client process"
    return [
        figure("U: one-row INSERT + commit (unit)", "ms", units),
        figure("GET /live (HTTP floor)", "ms", empty),
        figure("create over HTTP, one caller", "ms", single),
        figure("create over HTTP, one caller", "U", [value / middle for value in single], goal=4),
        figure(f"create over HTTP, {CALLERS} callers", "ms", waits),
    ], note


async def _create(client: httpx.AsyncClient, owner: str) -> None:
    answer = await client.post("/api/sandboxes", json={"owner": owner, "ttl": "10m"})
    answer.raise_for_status()


async def _burst(client: httpx.AsyncClient) -> list[float]:
    numbers = iter(range(BURST))

    async def caller() -> list[float]:
        return [await _timed(_create(client, f"burst{number}")) for number in numbers]

    return [wait for waits in await asyncio.gather(*(caller() for _ in range(CALLERS))) for wait in waits]


async def _filled(postgres: Any) -> None:
    """Wait until the pool is full."""
    query = "SELECT count(*) FROM valhalla.sandboxes WHERE status = 'pending' AND slot_ready_at IS NOT NULL"
    deadline = time.monotonic() + 60
    while await postgres.fetchval(query) < POOL and time.monotonic() < deadline:
        await asyncio.sleep(0.2)


async def _timed(work: Any) -> float:
    started = time.perf_counter()
    await work
    return (time.perf_counter() - started) * 1000
