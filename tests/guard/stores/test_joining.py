"""The effect in the caller's transaction: claim, effect and end are one commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import asyncpg
import psycopg
import pytest
from tests.guard.stores.places import PostgresPlace

from valhalla.guard import DoneFailed, Guard, NotDone, StoreRefuses
from valhalla.guard.contracts import Scan


@pytest.fixture
def url(guard_url: str) -> Iterator[str]:
    with psycopg.connect(guard_url, autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS paid")
        conn.execute("CREATE TABLE paid (k text)")
    yield guard_url
    with psycopg.connect(guard_url, autocommit=True) as conn:
        conn.execute("DROP TABLE paid")


@pytest.fixture
def joining(url: str) -> Iterator[Guard]:
    place = PostgresPlace(url)
    made = Guard(place.make(), patience=0.5)
    yield made
    made.close()
    place.close()


def paid(url: str) -> list[str]:
    with psycopg.connect(url) as conn:
        return [k for (k,) in conn.execute("SELECT k FROM paid ORDER BY k")]


def test_claim_effect_and_end_are_one_commit(joining: Guard, url: str) -> None:
    @joining.action("pay", key="k", transactional="conn", limit="3/hour")
    def pay(k: str, conn: Any) -> str:
        conn.execute("INSERT INTO paid VALUES (%s)", (k,))
        return k

    with psycopg.connect(url) as conn:
        assert pay("1", conn) == "1"
        assert pay("1", conn) == "1"
        assert paid(url) == []
        # nobody else can do it meanwhile, and nobody is held up by the open transaction
        with psycopg.connect(url) as other:
            assert pay.outcome("1", other).status == "in_progress"
            other.rollback()
    with psycopg.connect(url) as conn:
        assert pay.outcome("1", conn).status == "replayed"
    assert paid(url) == ["1"]

    with psycopg.connect(url) as conn:
        assert pay("2", conn) == "2"
        conn.rollback()
    assert paid(url) == ["1"]
    with psycopg.connect(url) as conn:
        assert pay.outcome("2", conn).status == "succeeded"
        assert pay.outcome("3", conn).status == "limited"
    assert paid(url) == ["1", "2"]


@pytest.mark.parametrize("statement", ["INSERT INTO nowhere VALUES (1)", "SELECT 1"])
def test_an_effect_that_raises_is_undone_and_the_transaction_goes_on(joining: Guard, url: str, statement: str) -> None:
    @joining.action("pay", key="k", transactional="conn")
    def pay(k: str, conn: Any) -> None:
        conn.execute("INSERT INTO paid VALUES (%s)", (k,))
        conn.execute(statement)
        raise TimeoutError

    with psycopg.connect(url) as conn:
        conn.execute("INSERT INTO paid VALUES ('before')")
        assert pay.outcome("1", conn).status == "not_done"
        conn.execute("INSERT INTO paid VALUES ('later')")
    assert paid(url) == ["before", "later"]
    assert joining.store.scan(Scan("all")).records == ()


def test_a_final_failure_is_kept_with_what_the_effect_wrote(joining: Guard, url: str) -> None:
    @joining.action("pay", key="k", transactional="conn")
    def pay(k: str, conn: Any) -> None:
        conn.execute("INSERT INTO paid VALUES (%s)", (k,))
        raise DoneFailed("declined")

    with psycopg.connect(url) as conn:
        assert pay.outcome("1", conn).status == "failed"
    with psycopg.connect(url) as conn:
        assert pay.outcome("1", conn).status == "failed"
    assert paid(url) == ["1"]


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_async_effects_join_too(joining: Guard, url: str, driver: str) -> None:
    @joining.action("pay", key="k", transactional="conn")
    async def pay(k: str, conn: Any) -> str:
        if driver == "asyncpg":
            await conn.execute("INSERT INTO paid VALUES ($1)", k)
        else:
            await conn.execute("INSERT INTO paid VALUES (%s)", (k,))
        if k == "bad":
            raise NotDone
        return k

    if driver == "asyncpg":
        conn: Any = await asyncpg.connect(url)
        refused = await pay.outcome("0", conn)
        assert isinstance(refused.error, StoreRefuses)
        async with conn.transaction():
            assert [(await pay.outcome(k, conn)).status for k in ("bad", "1", "1")] == [
                "not_done",
                "succeeded",
                "replayed",
            ]
    else:
        conn = await psycopg.AsyncConnection.connect(url)
        async with conn.transaction():
            assert [(await pay.outcome(k, conn)).status for k in ("bad", "1", "1")] == [
                "not_done",
                "succeeded",
                "replayed",
            ]
    await conn.close()
    assert paid(url) == ["1"]


def test_what_is_no_open_transaction_is_refused(joining: Guard, url: str) -> None:
    ran: list[str] = []

    @joining.action("pay", key="k", transactional="conn")
    def pay(k: str, conn: Any) -> None:
        ran.append(k)

    with psycopg.connect(url, autocommit=True) as conn, pytest.raises(StoreRefuses):
        pay("1", conn)
    with pytest.raises(StoreRefuses):
        pay("1", "no connection")
    assert ran == []


def test_an_effect_that_commits_by_itself_is_told(joining: Guard, url: str) -> None:
    @joining.action("pay", key="k", transactional="conn")
    def pay(k: str, conn: Any) -> None:
        conn.commit()

    with psycopg.connect(url) as conn, pytest.raises(StoreRefuses):
        pay("1", conn)


def test_connections_end_with_their_loop(joining: Guard, url: str) -> None:
    @joining.action("act", key="k")
    async def act(k: str) -> str:
        return k

    with psycopg.connect(url, autocommit=True) as conn:
        before = _connections(conn)
        for n in range(5):
            assert asyncio.run(act(f"{n}")) == f"{n}"
        # what others left may end, too
        deadline = time.monotonic() + 30
        while _connections(conn) > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert _connections(conn) <= before


def _connections(conn: psycopg.Connection[Any]) -> int:
    found = conn.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'valhalla-guard'").fetchone()
    assert found is not None
    return found[0]
