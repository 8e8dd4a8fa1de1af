"""Creating from a full pool, one caller and many, beside the unit and the floor of the HTTP server."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from bench.load import Caller, processor_seconds, timed, together
from bench.plane import control, down, folder, up
from bench.report import Figure, figure, publish
from bench.sandboxes import connect, unit

POOL = 1000
SINGLE = 200
CALLERS = 64
SETTINGS = {
    "VALHALLA_POOL_SIZE": str(POOL),
    "VALHALLA_POOL_MOST": str(POOL),
    "VALHALLA_POOL_RATE": "200",
    "VALHALLA_MAX_SANDBOXES_PER_OWNER": "100000",
    "VALHALLA_ACCESS_LOG": "false",
}


def run() -> None:
    """Measure and publish."""
    os.environ |= SETTINGS
    with folder() as data_dir:
        up(data_dir)
        try:
            figures = asyncio.run(_measure(data_dir))
        finally:
            down(data_dir)
    publish("Pool: create from a full pool", figures)


async def _measure(data_dir: Path) -> list[Figure]:
    document = control(data_dir)
    url, pid = document["url"], int(document["pid"])
    postgres = await connect(data_dir)
    key = (data_dir / "admin.key").read_text().strip()
    await filled(postgres, POOL)
    units = await unit(postgres)
    caller = await Caller.connect(url, key)
    empty = [await timed(caller.call("GET", "/live")) for _ in range(SINGLE)]
    single = [await timed(caller.create(f"single{index}")) for index in range(SINGLE)]
    await filled(postgres, POOL)
    await asyncio.sleep(1)
    numbers = iter(range(POOL - CALLERS))

    async def burst(one: Caller) -> list[float]:
        return [await timed(one.create(f"burst{number}")) for number in numbers]

    before = processor_seconds(pid)
    waits, seconds = await together(url, key, CALLERS, burst)
    used = (processor_seconds(pid) - before) / len(waits) * 1000
    caller.close()
    await postgres.close()
    middle, floor = sorted(units)[len(units) // 2], sorted(empty)[SINGLE // 2]
    return [
        figure("U: one-row INSERT + commit (unit)", "ms", units),
        figure("GET /live (HTTP floor)", "ms", empty),
        figure("create over HTTP, one caller", "ms", single),
        figure("create over HTTP, one caller", "U", [value / middle for value in single], goal=4),
        # on a disk that hardly waits, four commits take less than any request
        figure("create over HTTP, against an empty request and U", "x", [v / (floor + middle) for v in single]),
        figure(f"create over HTTP, {CALLERS} callers", "ms", waits),
        figure(f"creates in a burst of {len(waits)}, {CALLERS} callers", "1/s", [len(waits) / seconds], floor=3_000),
        figure("the control plane's CPU for one of them", "ms", [used]),
    ]


async def filled(postgres: Any, size: int, *, patience: float = 120) -> None:
    """Wait until the pool holds ``size`` slots."""
    query = "SELECT count(*) FROM valhalla.sandboxes WHERE status = 'pending' AND slot_ready_at IS NOT NULL"
    deadline = time.monotonic() + patience
    while await postgres.fetchval(query) < size and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
