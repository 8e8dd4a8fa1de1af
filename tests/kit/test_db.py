"""The runners: one code path for the event loop and for threads, and one answer when the server is away."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.util import await_only

from valhalla.kernel.problems import Invalid, Unavailable
from valhalla.kit.db import Database
from valhalla.kit.sqlstates import is_away, shortage, sqlstate

ITEMS = sa.Table("items", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))


@pytest.fixture(scope="module", autouse=True)
async def items(db: Database) -> None:
    await db.run(ITEMS.create)


def _add(conn: sa.Connection, number: int, *, fail: bool = False) -> int:
    conn.execute(sa.insert(ITEMS), {"id": number})
    if fail:
        raise RuntimeError("undo")
    return number


def _count(conn: sa.Connection) -> int:
    return conn.scalar(sa.select(sa.func.count()).select_from(ITEMS)) or 0


async def test_both_runners_commit_and_roll_back(db: Database) -> None:
    """The same function on both drivers."""
    before = await db.read(_count)
    assert await db.run(_add, 1) == 1
    assert await asyncio.to_thread(db.run_blocking, _add, 2) == 2
    with pytest.raises(RuntimeError, match="undo"):
        await db.run(_add, 3, fail=True)
    with pytest.raises(RuntimeError, match="undo"):
        await asyncio.to_thread(db.run_blocking, _add, 4, fail=True)
    assert await db.read(_count) == before + 2
    with pytest.raises(sa.exc.IntegrityError) as twice:
        await db.run(_add, 1)
    assert sqlstate(twice.value) == "23505"


async def test_a_read_opens_no_transaction(db: Database) -> None:
    """Two statements of one read have two start times; of one transaction they would share it."""

    def instants(conn: sa.Connection) -> set[object]:
        return {conn.scalar(sa.select(sa.func.now())) for _ in range(3)}

    assert len(await db.read(instants)) == 3
    assert len(await db.run(instants)) == 1


async def test_a_server_that_is_away_is_unavailable() -> None:
    """From every runner, with the backend's name and a time to retry."""
    db = Database("postgresql://postgres@127.0.0.1:1/none")
    for attempt in (db.run(_count), db.read(_count), db.connect(), asyncio.to_thread(db.run_blocking, _count)):
        with pytest.raises(Unavailable) as away:
            await attempt
        assert away.value.backend == "postgres"
    await db.close()


async def test_a_terminated_session_is_unavailable_and_the_next_works(db: Database) -> None:
    """The pool replaces what the server ended."""
    with pytest.raises(Unavailable):
        await db.run(lambda conn: conn.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())")))
    assert await db.read(_count) >= 0


async def test_sessions_that_ended_while_they_were_idle_are_replaced(db: Database, database_url: str) -> None:
    """As after a restart of the server: nobody is told that it is away, however many lay in the pool."""
    idle = Database(database_url, application_name="idle")
    here, there = asyncio.Barrier(3), threading.Barrier(3, timeout=10)

    def held(conn: sa.Connection, wait: Callable[[], object]) -> int:
        found: int = conn.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        wait()
        return found

    async def pids() -> set[int]:
        async with asyncio.TaskGroup() as group:
            loops = [group.create_task(idle.run(held, lambda: await_only(here.wait()))) for _ in range(3)]
            threads = [group.create_task(asyncio.to_thread(idle.run_blocking, held, there.wait)) for _ in range(3)]
        return {task.result() for task in (*loops, *threads)}

    before = await pids()
    ended = sa.text("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name='idle'")
    assert (len(before), await db.read(lambda conn: conn.scalar(ended))) == (6, 6)
    assert not before & await pids()
    await idle.close()


async def test_a_statement_is_bounded(database_url: str) -> None:
    """Nothing waits forever, and the connection can be used again."""
    db = Database(database_url, statement_timeout=0.3, pool_size=1)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await db.run(lambda conn: conn.execute(sa.text("SELECT pg_sleep(20)")))
    assert time.monotonic() - began < 5
    for _ in range(4):
        assert await db.run(_count) >= 0
    await db.close()


@pytest.mark.parametrize(
    ("question", "value"),
    [("SELECT CAST(:value AS text)", "\x00"), ("SELECT CAST(:value AS jsonb) ->> 0", r'["\u0000"]')],
    ids=["text", "document"],
)
async def test_a_nul_is_the_callers_mistake(question: str, value: str, db: Database) -> None:
    def ask(conn: sa.Connection) -> None:
        conn.execute(sa.text(question), {"value": value})

    for run in (db.run, db.read):
        with pytest.raises(Invalid, match="NUL"):
            await run(ask)


def test_the_password_is_not_shown() -> None:
    """In a repr that ends up in a traceback."""
    assert "hunter2" not in repr(Database("postgresql://u:hunter2@h/d"))


def test_a_full_disk_is_a_backend_that_is_away_and_says_so() -> None:
    """Postgres that lacks a resource is reported as what it lacks, not as a fault of ours."""
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = asyncpg.DiskFullError("could not extend file")
    assert is_away(wrapped)
    assert shortage(wrapped) == "the disk of Postgres is full"
    assert shortage(asyncpg.UniqueViolationError("x")) is None


def test_a_session_that_the_server_has_just_ended_is_away() -> None:
    """The driver reads the farewell, and then refuses the next statement in words of its own."""
    assert is_away(asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"))


async def test_a_transaction_that_lost_to_another_is_run_anew(db: Database) -> None:
    """Two lock the same rows the wrong way round: Postgres takes one back, and both are done in the end."""
    await db.run(lambda conn: conn.execute(sa.insert(ITEMS), [{"id": 901}, {"id": 902}]))
    both = threading.Barrier(2)
    turns: list[int] = []

    def locked(conn: sa.Connection, first: int, second: int) -> int:
        turns.append(first)
        _lock(conn, first)
        if len(turns) <= 2:
            both.wait(10)
        _lock(conn, second)
        return first

    done = await asyncio.gather(
        asyncio.to_thread(db.run_blocking, locked, 901, 902), asyncio.to_thread(db.run_blocking, locked, 902, 901)
    )
    assert done == [901, 902]
    assert len(turns) > 2


def _lock(conn: sa.Connection, number: int) -> None:
    conn.execute(sa.select(ITEMS.c.id).where(ITEMS.c.id == number).with_for_update())


async def test_a_transaction_that_always_loses_fails_in_the_end(db: Database) -> None:
    """Nobody waits for ever, and what it failed with is told."""
    turns: list[int] = []

    def lose(conn: sa.Connection) -> None:
        turns.append(1)
        conn.execute(sa.text("DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$"))

    with pytest.raises(sa.exc.DBAPIError) as lost:
        await db.run(lose)
    assert sqlstate(lost.value) == "40001"
    assert len(turns) == 4
