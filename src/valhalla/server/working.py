"""The process of a worker that runs a program's own jobs beside the control plane, on any machine."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from pathlib import Path

from valhalla.kernel.problems import Misconfigured
from valhalla.kit import liblog, migrate
from valhalla.kit.db import Database
from valhalla.server.database import running_url
from valhalla.server.options import ServeOptions
from valhalla.work import Jobs, Worker


def work(options: ServeOptions, target: str, *, concurrency: int, grace: float) -> int:
    """Run the jobs of ``target`` (``module:name`` of a ``Jobs``) until SIGINT or SIGTERM; return the exit status.

    Jobs that run then have ``grace`` seconds to end; what cannot be handed back goes to others when this process ends.

    Raises:
        Misconfigured: ``target`` names no ``Jobs``, or the database is of another release.
        Unavailable: the database cannot be reached.
    """
    # before the program's modules: what they arrange of logging comes second
    liblog.capture()
    jobs = _load(target)
    url = running_url(options)
    clean = asyncio.run(_main(url, jobs, concurrency, grace))
    if not clean:
        # a job's thread that does not end would keep the process: its job is another worker's by now
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


async def _main(url: str, jobs: Jobs, concurrency: int, grace: float) -> bool:
    db = Database(url, application_name="valhalla-worker")
    try:
        if await db.run(migrate.needs_upgrade):
            raise Misconfigured("the database is older than this worker", setting="database_url")
        worker = Worker(db, jobs, concurrency=concurrency, grace=grace)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        print(f"Worker {worker.id} runs {', '.join(jobs.names)}", flush=True)  # noqa: T201 - says that it is there
        await worker.run(stop)
        return worker.is_idle
    finally:
        await db.close()


def _load(target: str) -> Jobs:
    module, colon, name = target.partition(":")
    # like python -m: a program's modules are found where it is started
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), name) if colon else None
    except (ImportError, AttributeError) as error:
        raise Misconfigured(f"{target}: {error}", setting="jobs") from error
    if not isinstance(found, Jobs) or not found.names:
        raise Misconfigured(
            f"{target} names no registered jobs",
            help="Write MODULE:NAME, where NAME is a valhalla.work.Jobs with at least one @job.",
            setting="jobs",
        )
    return found
