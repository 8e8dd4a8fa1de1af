"""The process of a worker that runs a program's own jobs beside the control plane, on any machine."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import signal
import sys
from pathlib import Path
from typing import Final

from valhalla.features.operations.maintenance.following import ModeWatch
from valhalla.kernel.problems import Misconfigured
from valhalla.kit import liblog, migrate
from valhalla.kit.db import Database
from valhalla.server.database import running_url
from valhalla.server.options import ServeOptions
from valhalla.work import Jobs, Worker
from valhalla.work.heartbeats import Heart, Times
from valhalla.work.loops import worker_source

_TIMES: Final = Times(interval=5.0, timeout=30.0)


def work(
    options: ServeOptions,
    target: str,
    *,
    concurrency: int,
    grace: float,
    name: str | None = None,
    during_maintenance: bool = False,
) -> int:
    """Run the jobs of ``target`` (``module:name`` of a ``Jobs``) until SIGINT or SIGTERM; return the exit status.

    It beats under ``name``, by which workers of the same jobs on one host are told apart. Jobs that run then have
    ``grace`` seconds to end; what cannot be handed back goes to others when this process ends. While the control plane
    takes no writes none begins, unless ``during_maintenance``.

    Raises:
        Misconfigured: ``target`` names no ``Jobs``, ``name`` cannot be one, or the database is of another release.
        Unavailable: the database cannot be reached.
    """
    # before the program's modules: what they arrange of logging comes second
    liblog.capture()
    if name is not None and re.fullmatch(r"[a-z0-9_-]{1,63}", name) is None:
        raise Misconfigured("a worker's name is 1 to 63 of a-z, 0-9, _ and -", setting="name")
    jobs = _load(target)
    url = running_url(options)
    source = worker_source(target, name)
    clean = asyncio.run(_main(url, jobs, concurrency, grace, source, pauses=not during_maintenance))
    if not clean:
        # a job's thread that does not end would keep the process: its job is another worker's by now
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


async def _main(url: str, jobs: Jobs, concurrency: int, grace: float, source: str, *, pauses: bool) -> bool:
    db = Database(url, application_name="valhalla-worker")
    try:
        if await db.run(migrate.needs_upgrade):
            raise Misconfigured("the database is older than this worker", setting="database_url")
        heart = Heart(db, {source: _TIMES})
        mode = ModeWatch(db)
        worker = Worker(
            db,
            jobs,
            concurrency=concurrency,
            grace=grace,
            alive=lambda: heart.beat(source),
            name=source,
            paused=lambda: pauses and mode.is_closed,
        )
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        print(f"Worker {worker.id} ({source}) runs {', '.join(jobs.names)}", flush=True)  # noqa: T201 - says that it is there
        beating = asyncio.gather(heart.run(stop, every=_TIMES.interval), mode.run(stop))
        try:
            await worker.run(stop)
        finally:
            stop.set()
            await beating
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
