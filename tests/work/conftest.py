"""One Postgres per session, one migrated database per test that works in it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import sqlalchemy as sa
from tests.servers import Postgres, copy_migrated, start_postgres

from valhalla.kit.db import Database
from valhalla.work import Job, Jobs, Worker, read

_numbers = itertools.count(1)
DONE = ("succeeded", "cancelled", "dead", "held")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's cluster."""
    server = start_postgres()
    yield server
    server.stop()


@pytest.fixture
def database_url(postgres: Postgres) -> str:
    """The URL of the test's own database."""
    return copy_migrated(postgres.url, f"w{next(_numbers)}")


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """The test's database."""
    database = Database(database_url)
    yield database
    await database.close()


@contextlib.asynccontextmanager
async def working(db: Database, jobs: Jobs, **options: float) -> AsyncIterator[Worker]:
    """A worker that runs inside the block."""
    stop = asyncio.Event()
    worker = Worker(db, jobs, **{"poll": 0.2, **options})  # type: ignore[arg-type]
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        await task


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.005)


async def ended(db: Database, key: str, statuses: tuple[str, ...] = DONE, seconds: float = 30.0) -> Job:
    """Wait until the job has one of the statuses."""
    deadline = time.monotonic() + seconds
    while (job := await db.run(read, key)).status not in statuses:
        assert time.monotonic() < deadline, f"still {job.status}"
        await asyncio.sleep(0.01)
    return job


async def rows(db: Database) -> int:
    """How many rows the engine's queue has."""
    return await db.run(lambda conn: conn.scalar(sa.text("SELECT count(*) FROM valhalla.pgqueuer")))
