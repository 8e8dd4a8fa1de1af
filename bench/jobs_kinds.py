"""What runs jobs in Postgres: one program each, that fills a queue, drains it, and waits for single jobs.

Each runs in a process of its own (``python -m bench.jobs_kinds NAME URL COUNT``) and prints its samples as JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

SEATS = 32
# a poll takes as many as there are seats: with 32 it would be slower still
DBOS_SEATS = 100
SINGLE = 40
IDLE = 5.0
Samples = dict[str, list[float]]


class Meter:
    """What the jobs themselves do: count, and say when they began."""

    def __init__(self) -> None:
        self.ended = 0
        self.began: float | None = None

    def begin(self) -> None:
        self.began = time.perf_counter()
        self.ended += 1

    async def reached(self, count: int) -> None:
        while self.ended < count:
            await asyncio.sleep(0.002)


async def measure(
    meter: Meter, count: int, *, fill: Callable[[int], Awaitable[None]], start: Callable[[], Any], done: Any = None
) -> Samples:
    """Fill, drain, submit one by one to an idle worker, idle: microseconds per job, milliseconds, percent of a core."""
    started = time.perf_counter()
    await fill(count)
    filled = time.perf_counter() - started
    started = time.perf_counter()
    await start()
    await meter.reached(count)
    if done is not None:
        await done()
    drained = time.perf_counter() - started
    await asyncio.sleep(1)
    waits: list[float] = []
    for _ in range(SINGLE):
        goal = meter.ended + 1
        started = time.perf_counter()
        await fill(1)
        await meter.reached(goal)
        assert meter.began is not None
        waits.append((meter.began - started) * 1000)
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    processor = time.process_time()
    await asyncio.sleep(IDLE)
    idle = (time.process_time() - processor) / IDLE * 100
    return {"submit": [filled / count * 1e6], "drain": [drained / count * 1e6], "start": waits, "idle": [idle]}


async def valhalla(url: str, count: int) -> Samples:
    """Ours, with the worker's defaults."""
    from valhalla.kit.db import Database
    from valhalla.work import Jobs, Request, Worker, submit, submit_many

    jobs, meter, stop = Jobs(), Meter(), asyncio.Event()

    @jobs.job("noop")
    async def noop(n: int) -> None:
        meter.begin()

    db = Database(url)
    worker = Worker(db, jobs)
    tasks: list[asyncio.Task[None]] = []

    async def fill(number: int) -> None:
        if number == 1:
            await db.run(submit, jobs, "noop", {"n": 1})
            return
        for first in range(0, number, 1000):
            await db.run(submit_many, jobs, [Request(name="noop", args={"n": n}) for n in range(first, first + 1000)])

    async def start() -> None:
        tasks.append(asyncio.create_task(worker.run(stop)))

    async def done() -> None:
        # the outcomes are written as well
        while not worker.is_idle:
            await asyncio.sleep(0.002)

    try:
        return await measure(meter, count, fill=fill, start=start, done=done)
    finally:
        stop.set()
        await asyncio.gather(*tasks)
        await db.close()


async def procrastinate(url: str, count: int) -> Samples:
    """procrastinate with as many seats."""
    from procrastinate import App, PsycopgConnector

    meter = Meter()
    app = App(connector=PsycopgConnector(conninfo=url))

    @app.task(name="noop")
    async def noop(n: int) -> None:
        meter.begin()

    tasks: list[asyncio.Task[None]] = []

    async def fill(number: int) -> None:
        if number == 1:
            await noop.defer_async(n=1)
            return
        for first in range(0, number, 1000):
            await noop.batch_defer_async(*({"n": n} for n in range(first, min(number, first + 1000))))

    async def start() -> None:
        worker = app.run_worker_async(concurrency=SEATS, install_signal_handlers=False, delete_jobs="successful")
        tasks.append(asyncio.create_task(worker))

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        try:
            return await measure(meter, count, fill=fill, start=start)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def dbos(url: str, count: int) -> Samples:
    """DBOS with three times the seats, asking twenty times a second: by default it does once."""
    from dbos import DBOS

    meter = Meter()
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR", "run_admin_server": False})

    @DBOS.workflow()
    def noop(n: int) -> None:
        meter.begin()

    async def fill(number: int) -> None:
        await asyncio.to_thread(lambda: [queue.enqueue(noop, n) for n in range(number)])

    async def start() -> None:
        return None

    # it has no worker to start later: draining begins with filling, so the time of both is the drain's
    await asyncio.to_thread(DBOS.launch)
    queue = await asyncio.to_thread(
        lambda: DBOS.register_queue("bench", worker_concurrency=DBOS_SEATS, polling_interval_sec=0.05)
    )
    try:
        samples = await measure(meter, count, fill=fill, start=start)
    finally:
        await asyncio.to_thread(DBOS.destroy)
    samples["drain"] = [samples["submit"][0] + samples["drain"][0]]
    return samples


KINDS: dict[str, Callable[[str, int], Awaitable[Samples]]] = {
    "valhalla": valhalla,
    "procrastinate": procrastinate,
    "dbos": dbos,
}


if __name__ == "__main__":
    name, address, jobs_count = sys.argv[1:]
    logging.disable(logging.WARNING)
    print(json.dumps(asyncio.run(KINDS[name](address, int(jobs_count)))))  # pyright: ignore[reportArgumentType]
