"""How the queues are, and what whoever looks is told while jobs run."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from tests.work.conftest import ended, until, working

from valhalla.kit.db import Database
from valhalla.kit.listening import listening
from valhalla.kit.outbox.store import CHANNEL
from valhalla.work import JobContext, Jobs, Queue, Request, Retry, queues, submit, submit_many


async def test_each_queue_is_counted(db: Database) -> None:
    jobs = Jobs([Queue(name="narrow", concurrency=1)])
    go_on = threading.Event()

    @jobs.job("narrow.waits", queue="narrow")
    def waits() -> None:
        go_on.wait(30)

    @jobs.job("wide.fails", queue="wide", retry=Retry(attempts=1))
    def fails() -> None:
        raise ValueError("no")

    await db.run(submit_many, jobs, [Request(name="narrow.waits")] * 3)
    later = Request(name="wide.fails", delay=3600)
    [dead, *_] = await db.run(submit_many, jobs, [Request(name="wide.fails"), later])
    try:
        async with working(db, jobs):
            await ended(db, dead.id)
            async with asyncio.timeout(20):
                while (found := await db.read(queues.every)).items[0].running == 0:
                    await asyncio.sleep(0.02)
            narrow, wide = found.items
            assert (narrow.name, narrow.waiting, narrow.running, narrow.dead) == ("narrow", 2, 1, 0)
            assert (wide.name, wide.waiting, wide.running, wide.dead) == ("wide", 1, 0, 1)
            assert narrow.alive
            assert wide.alive
            assert narrow.oldest_at is not None
            assert narrow.oldest_at <= datetime.now(UTC)
            assert wide.oldest_at is not None
            assert wide.oldest_at > datetime.now(UTC) + timedelta(minutes=50)
            assert found.capped == []
            go_on.set()
    finally:
        go_on.set()


async def test_more_than_is_counted_is_said_to_be_more(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "WAITING", 2)
    monkeypatch.setattr(queues, "NEWEST", 1)
    jobs = Jobs()
    jobs.job("any.one", queue="any")(lambda: None)
    await db.run(submit_many, jobs, [Request(name="any.one")] * 3)
    await db.run(lambda conn: conn.execute(sa.text("UPDATE valhalla.jobs SET status = 'dead'")))
    found = await db.read(queues.every)
    [one] = found.items
    assert (one.waiting, one.dead, one.alive) == (2, 1, False)
    assert found.capped == ["dead", "waiting"]


async def test_who_looks_hears_of_progress_and_of_the_end(db: Database) -> None:
    """Once a beat at most, and no more when nothing changes."""
    jobs = Jobs()
    go_on = threading.Event()

    @jobs.job("tells")
    def tells(ctx: JobContext) -> None:
        ctx.progress(0.5)
        go_on.wait(30)

    heard: list[str] = []
    try:
        async with listening(db, CHANNEL, heard.append), working(db, jobs, beat=0.05):
            made = await db.run(submit, jobs, "tells")
            await until(lambda: "job" in heard)
            heard.clear()
            await asyncio.sleep(0.4)
            assert heard.count("job") <= 1
            heard.clear()
            go_on.set()
            await ended(db, made.id)
            await until(lambda: "job" in heard)
    finally:
        go_on.set()
