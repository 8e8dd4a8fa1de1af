"""Jobs: submitted with the caller's transaction, run by name, retried, cancelled, replayed."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from tests.work.conftest import ended, until, working

from valhalla.kit.db import Database
from valhalla.kit.log import correlated, correlation_id
from valhalla.work import (
    BadArguments,
    JobContext,
    Jobs,
    NoSuchJob,
    NotReplayable,
    Request,
    Retry,
    UnknownJob,
    cancel,
    read,
    replay,
    replay_many,
    submit,
    submit_many,
)

NEVER = Retry(attempts=1)


async def rows(db: Database) -> int:
    """How many rows the engine's queue has."""
    return await db.run(lambda conn: conn.scalar(sa.text("SELECT count(*) FROM valhalla.pgqueuer")))


async def test_a_sync_and_an_async_function_get_typed_arguments_and_store_their_results(db: Database) -> None:
    """JSON becomes the declared types; the result is in the record, and nothing is left in the queue."""
    jobs = Jobs()
    threads: list[str] = []

    @jobs.job("add")
    def add(a: int, when: datetime, b: int = 5) -> dict[str, Any]:
        threads.append(threading.current_thread().name)
        return {"sum": a + b, "year": when.year}

    @jobs.job("greet")
    async def greet(name: str) -> str:
        threads.append(threading.current_thread().name)
        return f"hello {name}"

    when = datetime.fromisoformat("2026-03-29T01:00:00+00:00")
    one = await db.run(submit, jobs, "add", {"a": 2, "when": when})
    two = await db.run(submit, jobs, "greet", {"name": "world"})
    async with working(db, jobs):
        assert (await ended(db, one.id)).result == {"sum": 7, "year": 2026}
        assert (await ended(db, two.id)).result == "hello world"
    assert threads.count(threading.main_thread().name) == 1
    assert await rows(db) == 0


async def test_what_does_not_fit_is_refused_at_submit(db: Database) -> None:
    """An unknown name, a wrong type, a missing, an unknown and an unstorable argument: nothing is written."""
    jobs = Jobs()

    @jobs.job("one")
    def one(n: int, note: str = "") -> None: ...

    with pytest.raises(UnknownJob):
        await db.run(submit, jobs, "two", {})
    for args in ({"n": "x"}, {}, {"n": 1, "m": 2}, {"n": 1, "note": "a\0b"}, {"n": object()}):
        with pytest.raises(BadArguments):
            await db.run(submit, jobs, "one", args)
    assert await rows(db) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"priority": 2**40},
        {"delay": float("inf")},
        {"delay": float("nan")},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"dedup_key": ""},
        {"dedup_key": "a\x00b"},
        {"dedup_key": "k" * 513},
    ],
    ids=str,
)
async def test_what_no_queue_can_hold_is_refused_at_submit(db: Database, wrong: dict[str, Any]) -> None:
    jobs = Jobs()
    jobs.job("noop")(lambda: None)
    with pytest.raises(BadArguments):
        await db.run(submit, jobs, "noop", **wrong)
    assert await rows(db) == 0


async def test_batches_with_the_same_keys_in_another_order_do_not_deadlock(db: Database) -> None:
    jobs = Jobs()
    jobs.job("noop")(lambda: None)
    forth = [Request(name="noop", dedup_key=f"key-{number}", delay=3600) for number in range(300)]

    async def batches(requests: list[Request]) -> None:
        for _ in range(5):
            await db.run(submit_many, jobs, requests)

    await asyncio.gather(batches(forth), batches(forth[::-1]))
    assert await rows(db) == 300


async def test_a_job_exists_when_its_transaction_committed_and_not_otherwise(db: Database) -> None:
    """The caller's rollback takes the job back; its commit makes both visible."""
    jobs = Jobs()
    ran: list[int] = []

    @jobs.job("note")
    def note(n: int) -> None:
        ran.append(n)

    def failing(conn: sa.Connection) -> None:
        submit(conn, jobs, "note", {"n": 1})
        raise RuntimeError

    async with working(db, jobs):
        with pytest.raises(RuntimeError):
            await db.run(failing)
        # the other driver takes the same functions
        second = await asyncio.to_thread(db.run_blocking, submit, jobs, "note", {"n": 2})
        await ended(db, second.id)
    assert ran == [2]


async def test_fifty_threads_with_one_key_make_one_job(db: Database) -> None:
    """The key is free again when the job has finished."""
    jobs = Jobs()
    ran: list[str] = []

    @jobs.job("pay")
    def pay() -> None:
        ran.append("")

    def one(_: int) -> tuple[str, bool]:
        made = db.run_blocking(submit, jobs, "pay", dedup_key="order-1")
        return made.id, made.created

    with ThreadPoolExecutor(50) as pool:
        made = await asyncio.to_thread(lambda: list(pool.map(one, range(50))))
    assert len({key for key, _ in made}) == 1
    assert sum(created for _, created in made) == 1
    async with working(db, jobs):
        await ended(db, made[0][0])
    assert len(ran) == 1
    again = await db.run(submit, jobs, "pay", dedup_key="order-1")
    assert again.created


async def test_a_batch_keeps_its_order_and_its_duplicates(db: Database) -> None:
    """One answer per request."""
    jobs = Jobs()

    @jobs.job("n")
    def n(i: int) -> int:
        return i

    made = await db.run(
        submit_many,
        jobs,
        [Request(name="n", args={"i": i}, dedup_key=f"k{i % 3}" if i < 6 else None) for i in range(9)],
    )
    assert [one.created for one in made] == [True] * 3 + [False] * 3 + [True] * 3
    assert [one.id for one in made[:3]] == [one.id for one in made[3:6]]
    assert (await db.run(read, made[8].id)).args == {"i": 8}


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


async def test_a_batch_asks_once_for_all_its_duplicates(db: Database) -> None:
    jobs = Jobs()
    jobs.job("noop")(lambda: None)
    requests = [Request(name="noop", dedup_key=f"k{n}") for n in range(50)]
    first = await db.run(submit_many, jobs, requests)
    statements: list[str] = []

    def again(conn: sa.Connection) -> list[str]:
        sa.event.listen(conn, "before_cursor_execute", lambda *args: statements.append(args[2]))
        return [one.id for one in submit_many(conn, jobs, requests)]

    assert await db.run(again) == [one.id for one in first]
    assert len(statements) == 2
