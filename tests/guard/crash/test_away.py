"""Postgres is away, restarted, or its answers get lost: typed errors, and an effect runs once or not at all."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.guard.crash.wire import Wire
from tests.guard.faces import Face
from tests.guard.stores.places import SCHEMA, PostgresPlace, Verbs

from valhalla.guard import Guard, Indeterminate, InProgress, Unrecorded, rules
from valhalla.guard.contracts import Began, Scan
from valhalla.guard.stores.postgres import PostgresStore
from valhalla.guard.stores.sqlite import SqliteStore
from valhalla.kernel.problems import Unavailable


@pytest.fixture
def place(servers: Any) -> Iterator[PostgresPlace]:
    made = PostgresPlace(servers.superuser_url)
    yield made
    made.close()


@pytest.fixture
def wire(servers: Any) -> Iterator[Wire]:
    made = Wire(servers.superuser_url)
    yield made
    made.close()


@pytest.fixture(params=["sync", "async"])
def verbs(request: pytest.FixtureRequest, place: PostgresPlace, wire: Wire) -> Iterator[Verbs]:
    """The verbs over the wire, with a connection that is open already."""
    place.url = wire.url
    made = Verbs(place, is_async=request.param == "async")
    made.begin(key="opens the connection")
    yield made
    made.close()


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest, place: PostgresPlace, wire: Wire) -> Iterator[Face]:
    place.url = wire.url
    made = Guard(place.make(), patience=0.0)
    yield Face(made, is_async=request.param == "async")
    made.close()


@pytest.mark.parametrize("lost", ["lose_requests", "lose_replies"])
def test_a_begin_whose_connection_breaks_claims_once(verbs: Verbs, wire: Wire, lost: str) -> None:
    setattr(wire, lost, 1)
    began = verbs.begin()
    assert (began.kind, began.record.generation) == (Began.EXECUTE, 1)
    assert [line.event for line in verbs.scan("ledger", after=1).lines] == ["begin"]
    assert verbs.begin().kind is Began.IN_PROGRESS


@pytest.mark.parametrize("lost", ["lose_requests", "lose_replies"])
def test_an_end_whose_connection_breaks_is_written_once(verbs: Verbs, wire: Wire, lost: str) -> None:
    row = verbs.row("executing")
    setattr(wire, lost, 1)
    done = verbs.cas(row.id, "executing indeterminate", "succeeded", generation=1, patch={"value": b"1"})
    assert done.done
    assert [line.event for line in verbs.scan("ledger", after=2).lines] == ["finish"]


@pytest.mark.parametrize("lost", ["lose_requests", "lose_replies"])
def test_a_begin_that_gets_no_answer_runs_nothing(face: Face, wire: Wire, place: PostgresPlace, lost: str) -> None:
    act = face.action("act", lambda k: face.ran.append(k) or k, key="k")
    setattr(wire, lost, 2)
    with pytest.raises(Unavailable):
        face.call(act, "1")
    assert face.ran == []
    # who asked knows that it ran nothing: its claim, if there is one, is given back and made anew
    assert face.call(act, "1") == "1"
    assert face.ran == ["1"]
    assert face.outcome(act, "1").status == "replayed"


def test_a_claim_whose_asker_died_unanswered_is_told_as_unknown(place: PostgresPlace, wire: Wire) -> None:
    ran: list[str] = []
    dead, alive = Guard(PostgresStore(wire.url, schema=SCHEMA)), Guard(place.make(), patience=0.0)
    wire.lose_replies = 2
    with pytest.raises(Unavailable):
        dead.run("act", ran.append, "1", key="1")
    dead.close()
    place.age(61)
    with pytest.raises(Indeterminate):
        alive.run("act", ran.append, "1", key="1")
    assert ran == []


def test_a_dispatch_that_gets_no_answer_is_given_back(
    face: Face, wire: Wire, place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    act = face.action("act", lambda k: face.ran.append(k) or k, key="k", approval="1 of anyone")
    face.do("approve", face.outcome(act, "1").id, by="ana")
    monkeypatch.setattr(rules, "takes", lambda call: setattr(wire, "lose_replies", 2) or ())
    with pytest.raises(Unavailable):
        face.do("dispatch")
    monkeypatch.undo()
    assert face.guard.waiting(kind="all")[0].state == "executing"
    face.do("sweep")
    assert face.outcome(act, "1").status == "held", "nothing ran, and what was approved is asked for again"
    assert face.ran == []


@pytest.mark.parametrize("lost", ["lose_requests", "lose_replies"])
def test_an_end_that_gets_no_answer_is_sent_again(face: Face, wire: Wire, lost: str) -> None:
    def effect(k: str) -> str:
        setattr(wire, lost, 2)
        face.ran.append(k)
        return k

    act = face.action("act", effect, key="k")
    assert face.call(act, "1") == "1"
    wire.lose_requests = wire.lose_replies = 0
    assert face.outcome(act, "1").status == "replayed"
    assert face.ran == ["1"]


def test_a_restart_between_two_calls_is_not_noticed(face: Face, servers: Any) -> None:
    act = face.action("act", lambda k: face.ran.append(k) or k, key="k")
    assert face.call(act, "1") == "1"
    servers.stack.restart("postgres")
    assert face.call(act, "1") == "1"
    assert face.call(act, "2") == "2"
    assert face.ran == ["1", "2"]


def test_a_server_killed_in_the_effect(face: Face, servers: Any) -> None:
    def effect(k: str) -> str:
        face.ran.append(k)
        os.kill(servers.stack.pids()["postgres"], signal.SIGQUIT)
        while "postgres" in servers.stack.pids():
            time.sleep(0.005)
        return k

    act = face.action("act", effect, key="k")
    with pytest.raises(Unrecorded) as done:
        face.call(act, "1")
    assert done.value.value == "1"
    with pytest.raises(Unavailable):
        face.call(act, "2")
    assert face.ran == ["1"]
    servers.stack.restart("postgres")
    with pytest.raises((InProgress, Indeterminate)):
        face.call(act, "1")
    assert face.ran == ["1"]


def test_a_server_that_comes_back_while_the_end_is_offered(face: Face, servers: Any) -> None:
    back: list[threading.Thread] = []

    def effect(k: str) -> str:
        face.ran.append(k)
        back.append(threading.Thread(target=servers.stack.restart, args=("postgres",)))
        back[0].start()
        return k

    act = face.action("act", effect, key="k")
    outcome = face.outcome(act, "1")
    back[0].join()
    assert outcome.value == "1" or isinstance(outcome.error, Unrecorded)
    assert face.outcome(act, "1").status in ("replayed", "in_progress")
    assert face.ran == ["1"]


def test_a_silent_server_is_not_waited_for_for_ever(place: PostgresPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valhalla.guard.stores.postgres.threads.SILENCE", 0.5)
    store = place.make()
    ran: list[str] = []
    act = Guard(store, patience=0.0).action("act", key="object")(ran.append)
    act("1")
    with psycopg.connect(place.url) as conn:
        # silence as a client sees it: the statement waits for this transaction
        conn.execute("LOCK TABLE conformance.lines IN ACCESS EXCLUSIVE MODE")
        # the second try finds that the first one still has the key
        with pytest.raises((Unavailable, InProgress)):
            act("2")
    assert ran == ["1"]


def test_rows_that_others_lock_for_too_long_are_unavailable(
    place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("valhalla.guard.stores.postgres.threads.SESSION", "SET lock_timeout = '50ms'")
    store = place.make()
    ran: list[str] = []
    act = Guard(store).action("act", key="object")(ran.append)
    act("1")
    with psycopg.connect(place.url) as conn:
        conn.execute("LOCK TABLE conformance.lines IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable):
            act("2")
    assert ran == ["1"]
    act("2")
    assert ran == ["1", "2"]


def test_a_locked_file_is_unavailable_and_then_is_not(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "guard.db", timeout=0.05)
    ran: list[str] = []
    act = Guard(store).action("act", key="object")(ran.append)
    act("1")
    other = sqlite3.connect(tmp_path / "guard.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        act("2")
    other.execute("ROLLBACK")
    assert ran == ["1"]
    act("2")
    assert [record.key for record in store.scan(Scan("all")).records] == ["1", "2"]
    other.close()
    store.close()


def test_nobody_there_is_unavailable() -> None:
    store = PostgresStore("postgresql://nobody@127.0.0.1:1/nowhere")
    with pytest.raises(Unavailable):
        Guard(store).setup()
    ran: list[str] = []
    with pytest.raises(Unavailable):
        Guard(store).action("act", key="object")(ran.append)("1")
    assert ran == []
