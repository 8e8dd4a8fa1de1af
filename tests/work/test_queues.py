"""Queues: who is next, how many at once, who works for them, and what happens when a worker stops."""

from __future__ import annotations

import asyncio
import threading

import pytest
import sqlalchemy as sa
from tests.work.conftest import ended, until, working

from valhalla.kit.db import Database
from valhalla.work import (
    Jobs,
    Queue,
    Rate,
    Request,
    read,
    submit,
    submit_many,
)
from valhalla.work.turn import look_after_names


async def rows(db: Database) -> int:
    """How many rows the engine's queue has."""
    return await db.run(lambda conn: conn.scalar(sa.text("SELECT count(*) FROM valhalla.pgqueuer")))


async def test_priority_goes_first_and_a_delay_is_waited_for(db: Database) -> None:
    """The later, more urgent job overtakes; the delayed one comes when it is due."""
    jobs = Jobs([Queue(name="line", concurrency=1)])
    order: list[str] = []

    @jobs.job("say", queue="line")
    async def say(what: str) -> None:
        order.append(what)

    def all_of_them(conn: sa.Connection) -> str:
        submit(conn, jobs, "say", {"what": "low"}, priority=-1)
        submit(conn, jobs, "say", {"what": "middle"})
        late = submit(conn, jobs, "say", {"what": "late"}, delay=3.0, priority=100)
        submit(conn, jobs, "say", {"what": "high"}, priority=7)
        return late.id

    late = await db.run(all_of_them)
    async with working(db, jobs):
        job = await ended(db, late)
    assert order == ["high", "middle", "low", "late"]
    assert job.started_at is not None
    assert job.started_at >= job.run_at


async def test_a_queue_keeps_its_concurrency_over_workers(db: Database) -> None:
    """Three workers, two seats: never more than two at once, and all are run."""
    jobs = Jobs([Queue(name="few", concurrency=2)])
    now, most = 0, 0

    @jobs.job("busy", queue="few")
    async def busy() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1

    made = await db.run(submit_many, jobs, [Request(name="busy")] * 20)
    async with working(db, jobs, poll=0.05), working(db, jobs, poll=0.05), working(db, jobs, poll=0.05):
        for one in made:
            await ended(db, one.id)
    assert 1 <= most <= 2


async def test_a_queue_keeps_its_rate_over_workers(db: Database) -> None:
    """No window sees more than the rate allows, whoever takes the jobs."""
    jobs = Jobs([Queue(name="rated", rate=Rate(5, 1.0))])

    @jobs.job("call", queue="rated")
    async def call() -> None: ...

    made = await db.run(submit_many, jobs, [Request(name="call")] * 12)
    async with working(db, jobs), working(db, jobs):
        done = [await ended(db, one.id) for one in made]
    starts = sorted(job.started_at.timestamp() for job in done if job.started_at is not None)
    # taken and begun are two statements of one transaction, a moment apart
    assert all(later - first > 0.9 for first, later in zip(starts, starts[5:], strict=False))


async def test_a_job_that_no_worker_knows_is_held_until_one_does(db: Database) -> None:
    """An older worker loses nothing of what a newer program submits."""
    newer, older = Jobs(), Jobs()

    @older.job("known")
    async def known() -> None: ...

    @newer.job("new")
    async def new() -> str:
        return "ran"

    made = await db.run(submit, newer, "new")
    await db.run(look_after_names, older, patience=0.0)
    held = await db.run(read, made.id)
    assert held.status == "held"
    assert held.error is not None
    assert "new" in held.error["detail"]
    assert await rows(db) == 0
    events = await db.run(lambda conn: conn.execute(sa.text("SELECT type, data FROM valhalla.events")).all())
    assert [(event.type, event.data["id"], event.data["name"]) for event in events] == [("job.held", made.id, "new")]
    async with working(db, newer):
        assert (await ended(db, made.id, ("succeeded",))).result == "ran"


@pytest.mark.parametrize("queue", [Queue(name="shared"), Queue(name="shared", concurrency=4)], ids=["free", "limited"])
async def test_programs_with_different_jobs_share_a_queue(db: Database, queue: Queue) -> None:
    """Each worker runs its own program's jobs; nothing is held, and nobody is told so."""
    ours, theirs = Jobs([queue]), Jobs([queue])

    @ours.job("ours", queue="shared")
    async def mine() -> str:
        return "ours"

    @theirs.job("theirs", queue="shared")
    async def other() -> str:
        return "theirs"

    async with working(db, ours), working(db, theirs):
        await db.run(look_after_names, ours, patience=None)
        await db.run(look_after_names, theirs, patience=None)
        made = [
            (one.id, name)
            for jobs, name in ((ours, "ours"), (theirs, "theirs"))
            for one in await db.run(submit_many, jobs, [Request(name=name)] * 5)
        ]
        for key, name in made:
            job = await ended(db, key)
            assert (job.status, job.result, job.attempts, job.crashes) == ("succeeded", name, 0, 0)
    assert await db.run(lambda conn: conn.scalar(sa.text("SELECT count(*) FROM valhalla.events"))) == 0


async def test_stopping_lets_short_jobs_finish_and_hands_long_ones_back(db: Database) -> None:
    """Nothing is lost, and no attempt is counted against what was interrupted."""
    jobs = Jobs()
    started: list[str] = []
    hurry = False

    @jobs.job("short")
    async def short() -> None:
        started.append("short")
        await asyncio.sleep(0.1)

    @jobs.job("long")
    async def long() -> str:
        started.append("long")
        await asyncio.sleep(0 if hurry else 60)
        return "done"

    one, two = await db.run(submit, jobs, "short"), await db.run(submit, jobs, "long")
    async with working(db, jobs, grace=0.5):
        await until(lambda: len(started) == 2)
    assert (await db.run(read, one.id)).status == "succeeded"
    job = await db.run(read, two.id)
    assert (job.status, job.attempts, job.crashes) == ("queued", 0, 0)
    hurry = True
    async with working(db, jobs):
        assert (await ended(db, two.id)).result == "done"


async def test_a_clean_stop_is_no_death_of_a_job_that_does_not_look(db: Database) -> None:
    """A function in a thread that ignores its context is taken over without a crash against it."""
    jobs = Jobs()
    release = threading.Event()
    calls: list[int] = []

    @jobs.job("deaf")
    def deaf() -> str:
        calls.append(1)
        if len(calls) == 1:
            release.wait(60)
        return "done"

    made = await db.run(submit, jobs, "deaf")
    async with working(db, jobs, grace=0.0, poll=0.1):
        await until(lambda: len(calls) == 1)
    # what its process, still there, has to say comes too late
    async with working(db, jobs, stale=0.2, poll=0.1):
        job = await ended(db, made.id)
    release.set()
    assert (job.status, job.result, job.crashes, len(calls)) == ("succeeded", "done", 0, 2)


async def test_what_was_taken_ahead_is_handed_back_when_the_seats_stay_taken(db: Database) -> None:
    """Short jobs let the worker take more than it has seats for; another worker gets them when it was wrong."""
    jobs = Jobs()
    go_on = asyncio.Event()
    began: list[int] = []

    @jobs.job("job")
    async def job(n: int) -> None:
        began.append(n)
        if n >= 100:
            await go_on.wait()

    await db.run(submit_many, jobs, [Request(name="job", args={"n": n}) for n in range(110)])
    async with working(db, jobs, concurrency=2):
        await until(lambda: sum(n >= 100 for n in began) == 2)
        async with working(db, jobs, concurrency=20):
            await until(lambda: len(began) == 110)
            go_on.set()
    assert sorted(began) == sorted({*range(110)})
