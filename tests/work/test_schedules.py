"""Schedules in the database: one run per tick over all processes, pause, run now, overlap, a year of virtual time."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import sqlalchemy as sa
from tests.work.conftest import ended, working

from valhalla.kit.db import Database
from valhalla.work import BadArguments, Jobs, UnknownJob
from valhalla.work.errors import BadTiming, NoSuchSchedule
from valhalla.work.schedules import Cron, Every, Once, Schedule, Ticker, pause, put, read, remove, run_now, tick

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def jobs() -> Jobs:
    """One job."""
    jobs = Jobs()

    @jobs.job("note")
    async def note(n: int = 0) -> int:
        return n

    return jobs


async def count(db: Database) -> int:
    return await db.run(lambda conn: conn.scalar(sa.text("SELECT count(*) FROM valhalla.jobs")))


async def test_many_processes_tick_and_each_run_happens_once(db: Database, jobs: Jobs) -> None:
    """Sixteen at the same moment, again and again: one job per schedule and hour."""
    for n in range(5):
        schedule = Schedule(name=f"s{n}", job="note", timing=Every(3600, START), overlap="allow")
        await db.run(put, jobs, schedule, now=START)
    with ThreadPoolExecutor(16) as pool:
        for hour in range(1, 7):
            now = START + timedelta(hours=hour, seconds=1)
            await asyncio.to_thread(
                lambda at=now: list(pool.map(lambda _: db.run_blocking(tick, jobs, now=at), range(16)))
            )
    # a tick leaves out what another has locked, and the next one would take it: nothing is left for it
    assert await db.run(tick, jobs, now=START + timedelta(hours=6, seconds=1)) == 0
    assert await count(db) == 30


@pytest.mark.slow
async def test_a_year_of_nights_on_a_virtual_clock(db: Database, jobs: Jobs) -> None:
    """A tick every six hours from January to December: every day has its run, also the two that are special."""
    timing = Cron("30 2 * * *", "Europe/Berlin")
    await db.run(put, jobs, Schedule(name="night", job="note", timing=timing, overlap="allow"), now=START)

    def year(conn: sa.Connection) -> int:
        return sum(tick(conn, jobs, now=START + timedelta(hours=hour)) for hour in range(0, 365 * 24, 6))

    assert await db.run(year) == 365


async def test_a_clock_that_jumps_repeats_nothing(db: Database, jobs: Jobs) -> None:
    """Forward follows the catch-up policy; backward waits until the next run is due again."""
    schedule = Schedule(name="s", job="note", timing=Every(60, START), overlap="allow", catch_up="one")
    await db.run(put, jobs, schedule, now=START)
    for minutes, runs in ((1, 1), (61, 1), (2, 0), (60, 0), (62, 1)):
        assert await db.run(tick, jobs, now=START + timedelta(minutes=minutes)) == runs


async def test_overlap_pause_and_run_now(db: Database, jobs: Jobs) -> None:
    """A run whose predecessor is unfinished is left out; a paused schedule does nothing by itself."""
    await db.run(put, jobs, Schedule(name="s", job="note", timing=Every(60, START), args={"n": 7}), now=START)
    ticks = [await db.run(tick, jobs, now=START + timedelta(minutes=m)) for m in (1, 2)]
    assert ticks == [1, 0]
    first = (await db.run(read, "s")).last_job
    assert first is not None
    assert (await db.run(run_now, jobs, "s")).id == first
    async with working(db, jobs):
        assert (await ended(db, first)).result == 7
    await db.run(pause, "s")
    assert await db.run(tick, jobs, now=START + timedelta(minutes=3)) == 0
    assert (await db.run(run_now, jobs, "s")).created
    await db.run(pause, "s", paused=False)
    await db.run(remove, "s")
    with pytest.raises(NoSuchSchedule):
        await db.run(read, "s")


async def test_bad_schedules_are_refused_and_one_with_a_changed_job_says_so(db: Database, jobs: Jobs) -> None:
    """Nothing is written for the first; the second goes on in time."""
    good = Schedule(name="s", job="note", timing=Every(60, START))
    for bad, problem in (
        (msgspec.structs.replace(good, job="nothing"), UnknownJob),
        (msgspec.structs.replace(good, args={"m": 1}), BadArguments),
        (msgspec.structs.replace(good, timing=Cron("0 0 30 2 *")), BadTiming),
        (msgspec.structs.replace(good, timing=Once(START)), BadTiming),
    ):
        with pytest.raises(problem):
            await db.run(put, jobs, bad, now=START)
    await db.run(put, jobs, good, now=START)
    newer = Jobs()

    @newer.job("note")
    async def note(name: str) -> None: ...

    assert await db.run(tick, newer, now=START + timedelta(minutes=1)) == 0
    after = await db.run(read, "s")
    assert after.last_error is not None
    assert after.next_at == START + timedelta(minutes=2)


async def test_a_restart_keeps_the_next_run(db: Database, jobs: Jobs) -> None:
    """Programs write their schedules at every start: only another timing begins anew."""
    schedule = Schedule(name="s", job="note", timing=Every(3600, START))
    await db.run(put, jobs, schedule, now=START)
    again = await db.run(put, jobs, schedule, now=START + timedelta(hours=5))
    assert again.next_at == START + timedelta(hours=1)
    other = msgspec.structs.replace(schedule, timing=Every(7200, START))
    assert (await db.run(put, jobs, other, now=START + timedelta(hours=5))).next_at == START + timedelta(hours=6)


async def test_the_ticker_runs_what_is_due(db: Database, jobs: Jobs) -> None:
    """With the real clock, and a worker beside it."""
    now = datetime.now(UTC)
    await db.run(put, jobs, Schedule(name="soon", job="note", timing=Once(now + timedelta(seconds=0.3)), args={"n": 3}))
    stop = asyncio.Event()
    ticker = asyncio.create_task(Ticker(db, jobs, every=0.05).run(stop))
    async with working(db, jobs):
        while (schedule := await db.run(read, "soon")).last_job is None:
            await asyncio.sleep(0.02)
        assert (await ended(db, schedule.last_job)).result == 3
        assert schedule.next_at is None
    stop.set()
    await ticker
