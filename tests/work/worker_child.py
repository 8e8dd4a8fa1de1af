"""A worker in a process of its own. Its jobs append a line to a file when they begin and when they end."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from valhalla.kit.db import Database
from valhalla.work import JobContext, Jobs, Retry, Worker


def catalogue(path: Path) -> Jobs:
    """The jobs of the crash tests; the parent submits with it as well."""
    jobs = Jobs()

    def note(what: str, ctx: JobContext) -> None:
        with path.open("a") as file:
            file.write(f"{what} {ctx.id} {os.getpid()}\n")

    @jobs.job("slow", retry=Retry(crashes=1000))
    async def slow(seconds: float, ctx: JobContext) -> int:
        note("begin", ctx)
        await asyncio.sleep(seconds)
        note("end", ctx)
        return os.getpid()

    @jobs.job("gated")
    async def gated(ctx: JobContext) -> int:
        note("begin", ctx)
        while not path.with_name("go").exists():
            await asyncio.sleep(0.01)
        return os.getpid()

    @jobs.job("poison")
    def poison(ctx: JobContext) -> None:
        note("poison", ctx)
        os._exit(9)

    return jobs


async def main(url: str, path: str, concurrency: str, stale: str) -> None:
    jobs = catalogue(Path(path))
    print("ready", flush=True)
    patience = float(stale)
    worker = Worker(Database(url), jobs, concurrency=int(concurrency), stale=patience, beat=patience / 4)
    await worker.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
