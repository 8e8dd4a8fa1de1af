"""A worker that is drained ends what it runs and takes nothing more, the others take it; resumed it works again."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.work.conftest import ended, until, working

from valhalla.kit.db import Database
from valhalla.work import Jobs, read, submit
from valhalla.work.draining import find, lift, order


@pytest.mark.slow
async def test_a_drained_worker_ends_what_it_runs_and_takes_nothing_more(db: Database) -> None:
    jobs, go, ran = Jobs(), threading.Event(), list[str]()

    @jobs.job("wait")
    def wait() -> None:
        go.wait(30)

    @jobs.job("note")
    async def note(text: str) -> None:
        ran.append(text)

    async with working(db, jobs, name="worker.one") as one:  # type: ignore[arg-type]
        long = await db.run(submit, jobs, "wait")
        await until(lambda: one.status()["running"] == 1)
        await db.run(order, "worker.one", by="me", reason="a new disk")
        await until(lambda: one.status()["draining"])
        waiting = await db.run(submit, jobs, "note", {"text": "after"})
        drain = await db.read(find, "worker.one")
        assert drain is not None
        assert drain.drained_at is None
        go.set()
        assert (await ended(db, long.id)).status == "succeeded"
        async with asyncio.timeout(20):
            while (drain := await db.read(find, "worker.one")) is None or drain.drained_at is None:
                await asyncio.sleep(0.02)
        assert (drain.running, drain.asked_by, drain.reason) == (0, "me", "a new disk")
        assert (await db.read(read, waiting.id)).status == "queued"

        async with working(db, jobs, name="worker.two"):  # type: ignore[arg-type]
            assert (await ended(db, waiting.id)).status == "succeeded"
        assert await db.run(lift, "worker.one")
        last = await db.run(submit, jobs, "note", {"text": "again"})
        assert (await ended(db, last.id)).status == "succeeded"
        assert one.status()["draining"] is False
    assert ran == ["after", "again"]
    assert not await db.run(lift, "worker.one")


@pytest.mark.slow
async def test_a_paused_worker_begins_nothing_and_goes_on_by_itself(db: Database) -> None:
    jobs, closed, ran = Jobs(), [True], list[str]()

    @jobs.job("note")
    async def note(text: str) -> None:
        ran.append(text)

    async with working(db, jobs, paused=lambda: closed[0]):  # type: ignore[arg-type]
        one = await db.run(submit, jobs, "note", {"text": "later"})
        await asyncio.sleep(0.6)
        assert ((await db.read(read, one.id)).status, ran) == ("queued", [])
        closed[0] = False
        assert (await ended(db, one.id)).status == "succeeded"
    assert ran == ["later"]
