"""Whole guarded calls over durable stores: crowds, processes, forks, and stores that are not as they must be."""

from __future__ import annotations

import multiprocessing
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.guard.faces import ROLES, Face
from tests.guard.stores.places import SCHEMA, PostgresPlace, SqlitePlace
from tests.guard.stores.valkey.place import ValkeyPlace

from valhalla.guard import Governor, Guard, KeyReuse, StoreRefuses
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
