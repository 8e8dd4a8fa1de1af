"""How a job goes and ends: retried, dead, cancelled, replayed."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
import sqlalchemy as sa
from tests.work.conftest import ended, rows, until, working

from valhalla.kit.db import Database
from valhalla.kit.log import correlated, correlation_id
from valhalla.work import (
    JobContext,
    Jobs,
    NoSuchJob,
    NotReplayable,
    Retry,
    cancel,
    read,
    replay,
    replay_many,
    submit,
)

NEVER = Retry(attempts=1)


async def told(db: Database, event: str) -> list[tuple[str, list[str]]]:
    """Return the ids of such events, and what else of their names is not well."""
    found = sa.text("SELECT data FROM valhalla.events WHERE type = :event ORDER BY id")
    data = await db.run(lambda conn: list(conn.scalars(found, {"event": event})))
    return [(one["id"], one["still"]) for one in data]


async def test_a_failure_is_tried_again_and_then_dead_and_can_be_replayed(db: Database) -> None:
    """All attempts are made, the death is an event, and a replay begins anew."""
    jobs = Jobs()
    calls: list[int] = []
    healed = False

    @jobs.job("flaky", retry=Retry(attempts=3, base=0.01))
    def flaky(ctx: JobContext) -> str:
        calls.append(ctx.attempt)
        if not healed:
            raise ValueError("cannot reach postgresql://me:hunter22@db/x")
        return ctx.idempotency_key

    made = await db.run(submit, jobs, "flaky")
    async with working(db, jobs):
        dead = await ended(db, made.id)
        assert (dead.status, dead.attempts, dead.effect, calls) == ("dead", 3, "unknown", [1, 2, 3])
        assert dead.error is not None
        assert dead.error["type"] == "ValueError"
        assert "hunter22" not in dead.error["detail"]
        events = await db.run(lambda conn: conn.execute(sa.text("SELECT type, data FROM valhalla.events")).all())
        assert [(event.type, event.data["id"]) for event in events] == [("job.dead", made.id)]
        healed = True
        await db.run(replay, made.id)
        assert await told(db, "job.replayed") == [(made.id, [])]
        alive = await ended(db, made.id, ("succeeded",))
    assert (alive.result, alive.error, calls[-1]) == (f"job:{made.id}", None, 1)
    with pytest.raises(NotReplayable):
        await db.run(replay, made.id)
    with pytest.raises(NoSuchJob):
        await db.run(replay, "nothing")


@pytest.mark.parametrize("kind", ["exit", "interrupt", "unserialisable", "nul", "stop", "huge"])
async def test_a_bad_ending_ends_only_the_job(db: Database, kind: str) -> None:
    """Whatever a function raises or returns, the worker goes on with the next job."""
    jobs = Jobs()

    def bad() -> Any:
        if kind == "exit":
            raise SystemExit(3)
        if kind == "interrupt":
            raise KeyboardInterrupt
        if kind == "stop":
            raise StopIteration("done")
        return {"unserialisable": object(), "nul": "a\0b", "huge": "x" * 2_000_000}[kind]

    jobs.job("bad.thread", retry=NEVER)(bad)

    @jobs.job("bad.loop", retry=NEVER)
    async def on_loop() -> Any:
        return bad()

    @jobs.job("good")
    async def good() -> int:
        return 1

    made = [await db.run(submit, jobs, name) for name in ("bad.thread", "bad.loop", "good")]
    async with working(db, jobs):
        one, two, three = [await ended(db, job.id) for job in made]
    assert (one.status, two.status, three.status) == ("dead", "dead", "succeeded")
    assert one.error is not None
    if kind in ("unserialisable", "nul", "huge"):
        assert one.error["code"] == "result-not-storable"


async def test_a_timeout_ends_an_attempt(db: Database) -> None:
    """An async function is interrupted, a sync one sees it; one that hangs is dead and holds up nobody."""
    jobs = Jobs()
    release = threading.Event()

    @jobs.job("sleeps", timeout=0.05, retry=NEVER)
    async def sleeps() -> None:
        await asyncio.sleep(60)

    @jobs.job("looks", timeout=0.05, retry=NEVER)
    def looks(ctx: JobContext) -> None:
        while True:
            ctx.check()
            time.sleep(0.005)

    @jobs.job("hangs", timeout=0.05, retry=Retry(attempts=9))
    def hangs() -> None:
        release.wait(60)

    made = [await db.run(submit, jobs, name) for name in ("sleeps", "looks", "hangs")]
    async with working(db, jobs):
        for job in [await ended(db, job.id) for job in made]:
            assert (job.status, job.effect) == ("dead", "unknown")
            assert job.error is not None
            assert job.error["code"] == "job-timeout"
            assert ("still_running" in job.error) is (job.name == "hangs")
    release.set()


async def test_cancelling_states_its_effect(db: Database) -> None:
    """A waiting job never runs; running ones end when they look; one that does not look has succeeded."""
    jobs = Jobs()
    started: list[str] = []
    go_on = threading.Event()

    @jobs.job("async")
    async def forever() -> None:
        started.append("async")
        await asyncio.sleep(60)

    @jobs.job("sync")
    def patient(ctx: JobContext) -> None:
        started.append("sync")
        while True:
            ctx.check()
            time.sleep(0.005)

    @jobs.job("deaf")
    def deaf() -> str:
        started.append("deaf")
        go_on.wait(30)
        return "done"

    waiting = await db.run(submit, jobs, "deaf")
    assert (await db.run(cancel, waiting.id)).effect == "none"
    made = {name: (await db.run(submit, jobs, name)).id for name in ("async", "sync", "deaf")}
    async with working(db, jobs, beat=0.05):
        await until(lambda: len(started) == 3)
        for key in made.values():
            assert (await db.run(cancel, key)).cancel_requested_at is not None
        for name in ("async", "sync"):
            job = await ended(db, made[name])
            assert (job.status, job.effect) == ("cancelled", "unknown")
        go_on.set()
        assert (await ended(db, made["deaf"])).result == "done"
    assert sorted(started) == ["async", "deaf", "sync"]
    assert (await db.run(cancel, made["deaf"])).status == "succeeded"


async def test_progress_and_correlation_travel_with_the_job(db: Database) -> None:
    """Progress is visible while it runs; the submitter's id is the job's, in threads and on the loop."""
    jobs = Jobs()
    seen: list[str | None] = []
    go_on = threading.Event()

    @jobs.job("slow")
    def slow(ctx: JobContext) -> None:
        seen.append(correlation_id())
        ctx.progress(0.5, "half", rows=3)
        go_on.wait(30)

    @jobs.job("quick")
    async def quick() -> None:
        seen.append(correlation_id())

    with correlated("abc-123"):
        one = await db.run(submit, jobs, "slow")
        two = await db.run(submit, jobs, "quick")
    async with working(db, jobs, beat=0.05):
        while (job := await db.run(read, one.id)).progress is None:
            await asyncio.sleep(0.01)
        assert (job.status, job.progress) == ("running", {"fraction": 0.5, "note": "half", "rows": 3})
        go_on.set()
        await ended(db, one.id)
        await ended(db, two.id)
    assert seen == ["abc-123", "abc-123"]


async def test_jobs_are_replayed_together(db: Database) -> None:
    """Of two with one dedup key the older, and none beside an unfinished one."""
    jobs = Jobs()

    @jobs.job("fails", retry=NEVER)
    async def fails() -> None:
        raise ValueError

    async def dead(**options: Any) -> str:
        made = await db.run(submit, jobs, "fails", **options)
        return (await ended(db, made.id)).id

    async with working(db, jobs):
        first, second, plain = await dead(dedup_key="k"), await dead(dedup_key="k"), await dead()
        await dead(dedup_key="open")
    await db.run(submit, jobs, "fails", dedup_key="open")
    assert await db.run(replay_many, name="nothing") == []
    assert await db.run(replay_many, name="fails", queue="default") == sorted([first, plain])
    assert (await db.run(read, second)).status == "dead"
    assert sorted(await told(db, "job.replayed")) == sorted((one, ["dead"]) for one in (first, plain))
    assert await rows(db) == 3
