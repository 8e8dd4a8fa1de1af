"""Jobs are submitted with the caller's transaction, checked, and once per key."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from tests.work.conftest import ended, rows, working

from valhalla.kit.db import Database
from valhalla.work import (
    BadArguments,
    Jobs,
    Request,
    UnknownJob,
    read,
    submit,
    submit_many,
)


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
