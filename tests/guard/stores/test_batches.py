"""A batch in Postgres gives each request the answer that it would get alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.guard.stores.places import SCHEMA, PostgresPlace, Verbs
from tests.guard.stores.test_conformance import HOLD, limit, take

from valhalla.guard.contracts import Began, CasRequest, Failure
from valhalla.guard.stores.postgres import ops


@pytest.fixture
def verbs(servers: Any) -> Iterator[Verbs]:
    place = PostgresPlace(servers.superuser_url)
    yield Verbs(place, is_async=False)
    place.close()


def perform(verbs: Verbs, requests: list[Any]) -> list[Any]:
    with psycopg.connect(verbs.place.url) as conn:
        found = conn.execute(f"SELECT {SCHEMA}.perform(%s::jsonb)::text".encode(), (ops.encode(requests),)).fetchone()
        assert found is not None
        return ops.decode(requests, found[0])


def ending(id_: str, **fields: Any) -> CasRequest:
    defaults: dict[str, Any] = {"event": "finish", "actor": "ana", "generation": 1}
    sources = frozenset({"executing", "indeterminate"})
    return CasRequest(id_, sources, fields.pop("to", "succeeded"), **(defaults | fields))


def test_begins_of_all_kinds_together(verbs: Verbs) -> None:
    done = verbs.row("succeeded", key="done")
    free = verbs.row("not_done", key="free")
    requests = [
        verbs.request(key="a", reason="why", parent="p"),
        verbs.request(key="a"),
        verbs.request(key="done"),
        verbs.request(key="done", fingerprint=b"other"),
        verbs.request(key="free"),
        verbs.request(key=None),
        verbs.request(key="b", verdict="hold", hold=HOLD),
        verbs.request(key="c", takes=take(limit("1/hour"))),
        verbs.request(key="d", takes=take(limit("1/hour"))),
        verbs.request(key="e", verdict="deny"),
        verbs.request(key="f"),
    ]
    answers = perform(verbs, requests)
    assert [one.kind for one in answers] == [
        Began.EXECUTE,
        Began.IN_PROGRESS,
        Began.REPLAY,
        Began.KEY_REUSE,
        Began.EXECUTE,
        Began.EXECUTE,
        Began.HELD,
        Began.EXECUTE,
        Began.LIMITED,
        Began.DENIED,
        Began.EXECUTE,
    ]
    assert (answers[0].record.reason, answers[0].record.parent, answers[0].record.version) == ("why", "p", 1)
    assert answers[0].record == verbs.scan("id", id=requests[0].id).records[0]
    assert answers[2].record == done
    assert (answers[4].record.id, answers[4].record.generation) == (free.id, 2)
    lines = verbs.scan("ledger").lines
    assert sorted(line.event for line in lines[4:]) == sorted(["begin"] * 5 + ["held", "limited", "denied"])


def test_ends_of_all_kinds_together(verbs: Verbs) -> None:
    rows = [verbs.row("executing", key=f"k{n}").id for n in range(6)]
    answers = perform(
        verbs,
        [
            ending(rows[0], patch={"value": b"\x00v"}),
            ending(rows[0], patch={"value": b"again"}),
            ending(rows[1], to="failed", patch={"failure": Failure("E", "t")}),
            ending(rows[2], generation=2, patch={"value": b"stale"}),
            ending(rows[3], to="not_done", patch={"failure": Failure("E", "t")}),
            ending(rows[4], patch={"value": None, "reason": "not kept"}),
            ending(rows[5], event=None, to="executing", lease=500.0),
            ending("nobody", patch={"value": b"v"}),
        ],
    )
    kinds = [one.kind for one in answers]
    assert kinds == ["done", "missed", "done", "missed", "done", "done", "done", "absent"]
    assert answers[0].record.value == b"\x00v"
    assert answers[2].record.failure == Failure("E", "t")
    assert answers[4].record.keep_until == pytest.approx(answers[4].record.updated_at + 86_400)
    assert (answers[5].record.value, answers[5].record.reason) == (None, "not kept")
    found = [verbs.scan("id", id=id_).records[0] for id_ in rows]
    assert [one.state for one in found] == ["succeeded", "failed", "executing", "not_done", "succeeded", "executing"]
    assert found[0] == answers[0].record
    assert [line.event for line in verbs.scan("ledger").lines[6:]] == ["finish"] * 4


def test_who_is_in_a_transaction_holds_up_no_batch(verbs: Verbs) -> None:
    store = verbs.store
    with psycopg.connect(verbs.place.url) as conn:
        assert store.within(conn).begin(verbs.request(key="k1")).kind is Began.EXECUTE
        answers = perform(verbs, [verbs.request(key=f"k{n}") for n in range(5)])
        conn.rollback()
    assert [one.kind for one in answers] == [Began.EXECUTE, Began.IN_PROGRESS, *[Began.EXECUTE] * 3]
    assert verbs.begin(key="k1").kind is Began.EXECUTE
