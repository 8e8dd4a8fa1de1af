"""Whole guarded calls over durable stores: crowds, processes, forks, and effects in the caller's transaction."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from tests.guard.faces import ROLES, Face
from tests.guard.stores.places import SCHEMA, PostgresPlace, SqlitePlace
from tests.guard.stores.valkey.place import ValkeyPlace

from valhalla.guard import DoneFailed, Governor, Guard, KeyReuse, NotDone, StoreRefuses
from valhalla.guard.contracts import Scan
from valhalla.guard.stores.postgres import PostgresStore
from valhalla.guard.stores.sqlite import SqliteStore
from valhalla.guard.stores.valkey import ValkeyStore
from valhalla.kernel.problems import Unavailable


@pytest.fixture(params=["sqlite", "postgres", "valkey"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "postgres":
        made: Any = PostgresPlace(request.getfixturevalue("guard_url"))
    elif request.param == "valkey":
        made = ValkeyPlace(request.getfixturevalue("servers").endpoints.valkey_url)
    else:
        made = SqlitePlace(tmp_path / "guard.db")
    yield made
    made.close()


@pytest.fixture
def guard(place: Any) -> Iterator[Guard]:
    made = Guard(place.make(), roles=ROLES, patience=20.0)
    yield made
    made.close()


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest, guard: Guard) -> Face:
    return Face(guard, is_async=request.param == "async")


def test_fifty_callers_run_an_effect_once(face: Face) -> None:
    act = face.action("act", lambda k: face.ran.append(k) or {"done": (1, k)}, key="k")
    answers = face.together(act, [("1",)] * 50)
    assert answers == [{"done": (1, "1")}] * 50
    assert face.ran == ["1"]


def test_many_keys_at_once_each_run_once(face: Face) -> None:
    act = face.action("act", lambda k: face.ran.append(k) or k, key="k")
    keys = [f"k{n % 30}" for n in range(60)]
    assert face.together(act, [(key,) for key in keys]) == keys
    assert sorted(face.ran) == sorted(set(keys))


def test_what_cannot_be_kept_is_not_run_again(face: Face) -> None:
    act = face.action("act", lambda k: face.ran.append(k) or object(), key="k")
    face.call(act, "1")
    assert face.outcome(act, "1").status == "replayed"
    assert face.ran == ["1"]


def test_another_process_sees_holds_and_dispatches_them(place: Any, face: Face) -> None:
    pay = face.action(
        "payment", lambda order, cents: face.ran.append(order) or cents, key="order", approval="2 of finance"
    )
    held = face.outcome(pay, "A-1", 500)
    assert held.status == "held"
    other = Guard(place.make(), roles=ROLES)
    ran: list[str] = []

    @other.action("payment", key="order", approval="2 of finance")
    def pay_there(order: str, cents: int) -> int:
        ran.append(order)
        return cents

    other.approve(held.id, by="ana")
    other.approve(held.id, by="di")
    assert [outcome.value for outcome in other.dispatch()] == [500]
    assert face.call(pay, "A-1", 500) == 500
    assert (face.ran, ran) == ([], ["A-1"])
    with pytest.raises(KeyReuse):
        face.call(pay, "A-1", 501)


def test_limits_of_all_resources_and_those_without_any_hold_as_in_memory(place: Any) -> None:
    governor = Governor({"*": "3/hour", "mail": "2/hour"}, unknown="allow")
    guard = Guard(place.make(), governor=governor)
    assert [guard.run("mail", int, n, limit="mail", outcome=True).status for n in range(3)] == [
        "succeeded", "succeeded", "limited",
    ]  # fmt: skip
    assert [guard.run("other", int, n, limit="unheard-of", outcome=True).status for n in range(2)] == [
        "succeeded", "limited",
    ]  # fmt: skip
    guard.close()


def _place_of(place: Any) -> tuple[str, str, str]:
    if isinstance(place, SqlitePlace):
        return "sqlite", str(place.path), ""
    return ("valkey", place.url, place.tenant) if isinstance(place, ValkeyPlace) else ("postgres", place.url, "")


def _store_at(kind: str, where: str, tenant: str) -> Any:
    if kind == "valkey":
        return ValkeyStore(where, tenant=tenant)
    return SqliteStore(where) if kind == "sqlite" else PostgresStore(where, schema=SCHEMA)


def _crowd(kind: str, where: str, tenant: str, log: str, start: Any) -> None:
    store = _store_at(kind, where, tenant)
    guard = Guard(store, patience=60.0)

    @guard.action("act", key="k")
    def act(k: str) -> int:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{k}\n".encode())
        os.close(descriptor)
        return os.getpid()

    start.wait()
    with ThreadPoolExecutor(13) as pool:
        assert len(set(pool.map(act, ["1"] * 13))) == 1
    guard.close()


@pytest.mark.parametrize(
    "place", [*(pytest.param(one, marks=pytest.mark.slow) for one in ("sqlite", "valkey")), "postgres"], indirect=True
)
def test_processes_of_threads_run_an_effect_once(place: Any, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    log = tmp_path / "log"
    processes = [context.Process(target=_crowd, args=(*_place_of(place), str(log), start)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 2
    assert log.read_text() == "1\n"


def test_a_store_made_before_a_fork_works_on_both_sides(guard: Guard) -> None:
    act = guard.action("act", key="k")(lambda k: os.getpid())
    assert act("parent") == os.getpid()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if act("child") == os.getpid() != act("parent") else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert act("child") == child
    assert act("after") == os.getpid()


def test_the_file_is_the_owners_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "guard.db")
    store.setup()
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    store.close()
    with pytest.raises(Unavailable):
        store.scan(Scan("all"))


def test_what_is_no_database_is_said_to_be_away(tmp_path: Path) -> None:
    (tmp_path / "guard.db").write_text("this is no database, but it is long enough to look like one" * 20)
    ran: list[str] = []
    act = Guard(SqliteStore(tmp_path / "guard.db")).action("act", key="object")(ran.append)
    with pytest.raises(Unavailable):
        act("1")
    assert ran == []


def test_without_its_schema_postgres_refuses_and_says_what_to_do(guard_url: str) -> None:
    guard = Guard(PostgresStore(guard_url, schema="not_made"))
    ran: list[str] = []
    with pytest.raises(StoreRefuses) as refused:
        guard.action("act", key="object")(ran.append)("1")
    assert "setup" in refused.value.advice
    assert ran == []
    guard.close()


# -- the effect in the caller's transaction ----------------------------------------------------------------------------


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
