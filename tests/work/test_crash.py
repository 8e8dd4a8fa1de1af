"""Workers that die, freeze or are poisoned: nothing is lost, and only the last one's outcome counts."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.work.conftest import ended, until
from tests.work.worker_child import catalogue

from valhalla.kit.db import Database
from valhalla.work import Job, Request, read, submit, submit_many

ROOT = Path(__file__).parents[2]
Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def spawn(database_url: str, tmp_path: Path) -> Iterator[Spawn]:
    """Starts worker processes and ends those that are left."""
    children: list[subprocess.Popen[str]] = []

    def start(concurrency: int = 100, stale: float = 3.0) -> subprocess.Popen[str]:
        arguments = [database_url, str(tmp_path / "log"), str(concurrency), str(stale)]
        command = [sys.executable, "-m", "tests.work.worker_child", *arguments]
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        children.append(child)
        return child

    yield start
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        child.wait()


def lines(path: Path) -> list[list[str]]:
    """What the jobs wrote: what, job, process."""
    file = path / "log"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


async def all_done(db: Database, keys: list[str], seconds: float = 60) -> list[Job]:
    deadline = time.monotonic() + seconds
    query = sa.text("SELECT count(*) FROM valhalla.jobs WHERE status IN ('queued', 'running')")
    while await db.run(lambda conn: conn.scalar(query)):
        assert time.monotonic() < deadline, "not all jobs came to an end"
        await asyncio.sleep(0.05)
    return [await db.run(read, key) for key in keys]


async def test_jobs_of_a_killed_worker_are_taken_over(db: Database, tmp_path: Path, spawn: Spawn) -> None:
    """All that were in flight are begun again by the other worker and end; the takeover's time is printed."""
    first = spawn()
    made = await db.run(submit_many, catalogue(tmp_path), [Request(name="gated")] * 20)
    await until(lambda: len(lines(tmp_path)) == 20)
    second = spawn()
    first.kill()
    killed = time.monotonic()
    await until(lambda: sum(line[2] == str(second.pid) for line in lines(tmp_path)) >= 20)
    print(f"all taken over {time.monotonic() - killed:.1f} s after the kill")
    (tmp_path / "go").touch()
    done = await all_done(db, [one.id for one in made])
    assert {(job.status, job.result, job.crashes, job.generation) for job in done} == {("succeeded", second.pid, 1, 2)}


@pytest.mark.slow
async def test_a_frozen_workers_late_outcome_is_refused(db: Database, tmp_path: Path, spawn: Spawn) -> None:
    """It wakes up, finishes, and finds that the job is another's."""
    first = spawn(stale=1.0)
    made = await db.run(submit, catalogue(tmp_path), "slow", {"seconds": 0.5})
    await until(lambda: len(lines(tmp_path)) == 1)
    first.send_signal(signal.SIGSTOP)
    second = spawn(stale=1.0)
    job = await ended(db, made.id)
    assert (job.status, job.result) == ("succeeded", second.pid)
    first.send_signal(signal.SIGCONT)
    await until(lambda: ["end", made.id, str(first.pid)] in lines(tmp_path))
    # it goes on with what comes next, and the outcome stays
    second.kill()
    other = await db.run(submit, catalogue(tmp_path), "slow", {"seconds": 0.0})
    assert (await ended(db, other.id)).result == first.pid
    assert await db.run(read, made.id) == job


@pytest.mark.slow
async def test_a_job_that_kills_its_workers_is_dead_and_the_others_go_on(
    db: Database, tmp_path: Path, spawn: Spawn
) -> None:
    """Whoever restarts workers sees four deaths; those that ran beside it all succeed."""
    jobs = catalogue(tmp_path)
    poison = await db.run(submit, jobs, "poison")
    made = await db.run(submit_many, jobs, [Request(name="slow", args={"seconds": 0.2})] * 20)
    deaths = 0
    worker = spawn(stale=1.0)
    deadline = time.monotonic() + 80
    while (await db.run(read, poison.id)).status != "dead":
        assert time.monotonic() < deadline
        if worker.poll() is not None:
            deaths += 1
            worker = spawn(stale=1.0)
        await asyncio.sleep(0.02)
    job = await db.run(read, poison.id)
    assert (deaths, job.crashes) == (4, 4)
    assert job.error is not None
    assert job.error["code"] == "poison-job"
    assert {one.status for one in await all_done(db, [one.id for one in made])} == {"succeeded"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "count", "stale"),
    [(3, 100, 1.0), pytest.param(100, 1000, 3.0, marks=pytest.mark.timeout(900))],
)
async def test_random_kills_lose_nothing(
    db: Database, tmp_path: Path, spawn: Spawn, kills: int, count: int, stale: float
) -> None:
    """Workers are killed at random with jobs in flight: each job succeeds, and only jobs in flight are repeated."""
    jobs = catalogue(tmp_path)
    unfinished = sa.text("SELECT count(*) FROM valhalla.jobs WHERE status IN ('queued', 'running')")
    workers = [spawn(60, stale), spawn(60, stale)]
    requests = [Request(name="slow", args={"seconds": 0.1 * (i % 8)}) for i in range(count)]
    made = await db.run(submit_many, jobs, requests)
    for _ in range(kills):
        await asyncio.sleep(random.uniform(0.1, 0.8))
        victim = random.choice(workers)
        victim.kill()
        victim.wait()
        workers.remove(victim)
        workers.append(spawn(60, stale))
        if kills > 10:  # keep a thousand in flight
            left = await db.run(lambda conn: conn.scalar(unfinished))
            more = [Request(name="slow", args={"seconds": 0.5})] * max(0, count - (left or 0))
            made += await db.run(submit_many, jobs, more)
    finished = await all_done(db, [one.id for one in made], 120)
    assert {job.status for job in finished} == {"succeeded"}
    begun = Counter(line[1] for line in lines(tmp_path) if line[0] == "begin")
    assert all(1 <= begun[job.id] <= job.crashes + 1 for job in finished)
    print(f"{len(made)} jobs, {kills} kills, {sum(begun.values()) - len(made)} begun again")


@pytest.mark.slow
async def test_a_restart_of_postgres_loses_nothing(db: Database, tmp_path: Path, spawn: Spawn) -> None:
    """Every connection is cut while jobs run and outcomes are written; all jobs end all the same."""
    spawn()
    made = await db.run(submit_many, catalogue(tmp_path), [Request(name="slow", args={"seconds": 0.02})] * 600)
    for _ in range(5):
        await asyncio.sleep(0.1)
        with contextlib.suppress(Exception):
            await db.run(
                lambda conn: conn.execute(
                    sa.text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )
            )
    assert {job.status for job in await all_done(db, [one.id for one in made])} == {"succeeded"}
