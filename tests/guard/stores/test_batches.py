"""A batch in Postgres gives each request the answer that it would get alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.guard.stores.asking import HOLD, limit, take
from tests.guard.stores.places import PostgresPlace, Verbs

from valhalla.guard.contracts import Began, CasRequest, Failure


@pytest.fixture
def verbs(guard_url: str) -> Iterator[Verbs]:
    place = PostgresPlace(guard_url)
    yield Verbs(place, is_async=False)
    place.close()


def perform(verbs: Verbs, requests: list[Any]) -> list[Any]:
    return verbs.store._threads._write(requests)


def _ending(id_: str, **fields: Any) -> CasRequest:
    defaults: dict[str, Any] = {"event": "finish", "actor": "ana", "generation": 1}
    sources = frozenset({"executing", "indeterminate"})
    return CasRequest(id_, sources, fields.pop("to", "succeeded"), **(defaults | fields))


def test_begins_of_all_kinds_together(verbs: Verbs) -> None:
    done = verbs.row("succeeded", key="done")
    free = verbs.row("not_done", key="free")
    requests = [
        verbs.request(key="a", parent="p"),
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
    assert (answers[0].record.parent, answers[0].record.version) == ("p", 1)
    assert answers[0].record == verbs.scan("id", id=requests[0].id).records[0]
    assert answers[2].record == done
    assert (answers[4].record.id, answers[4].record.generation) == (free.id, 2)
    lines = verbs.scan("ledger").lines
    assert sorted(line.event for line in lines[4:]) == sorted(["begin"] * 5 + ["held", "limited", "denied"])


@pytest.mark.parametrize("brief", [False, True])
def test_ends_of_all_kinds_together(verbs: Verbs, brief: bool) -> None:
    def ending(id_: str, **fields: Any) -> CasRequest:
        return _ending(id_, brief=brief, **fields)

    rows = [verbs.row("executing", key=f"k{n}").id for n in range(6)]
    answers = perform(
        verbs,
        [
            ending(rows[0], patch={"value": b'"v"'}),
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
    found = [verbs.scan("id", id=id_).records[0] for id_ in rows]
    assert found[0].value == b'"v"'
    assert found[1].failure == Failure("E", "t")
    assert found[3].keep_until == pytest.approx(found[3].updated_at + 86_400)
    assert (found[4].value, found[4].reason) == (None, "not kept")
    assert [one.state for one in found] == ["succeeded", "failed", "executing", "not_done", "succeeded", "executing"]
    assert all(one.record is None or one.record in found for one in answers)
    assert [line.event for line in verbs.scan("ledger").lines[6:]] == ["finish"] * 4


def test_who_is_in_a_transaction_holds_up_no_batch(verbs: Verbs) -> None:
    store = verbs.store
    with psycopg.connect(verbs.place.url) as conn:
        assert store.within(conn).begin(verbs.request(key="k1")).kind is Began.EXECUTE
        answers = perform(verbs, [verbs.request(key=f"k{n}") for n in range(5)])
        conn.rollback()
    assert [one.kind for one in answers] == [Began.EXECUTE, Began.IN_PROGRESS, *[Began.EXECUTE] * 3]
    assert verbs.begin(key="k1").kind is Began.EXECUTE


@pytest.mark.parametrize("odd", ["\x1f", "\x1fa\x1f", "\x00", "é", "\ud800", "'", "{}", "NULL", "a,b", "\\"])
def test_texts_that_could_be_taken_for_two_are_kept_whole(verbs: Verbs, odd: str) -> None:
    requests = [verbs.request(key=f"{n}{odd}", principal=f"p{odd}", correlation=f"c{odd}") for n in range(3)]
    answers = perform(verbs, requests)
    assert [one.kind for one in answers] == [Began.EXECUTE] * 3
    rows = {row.id: row for row in verbs.scan("all").records}
    for request, began in zip(requests, answers, strict=True):
        row = rows[request.id]
        assert row == began.record or "\x00" in odd or "\ud800" in odd
        assert row.fingerprint == request.fingerprint
    values = [f'"{odd}"'.encode("utf-8", "surrogatepass"), b"\x00", b"\xff\x1f"]
    ends = [_ending(one.id, patch={"value": value}, brief=True) for one, value in zip(requests, values, strict=True)]
    assert [one.kind for one in perform(verbs, ends)] == ["done"] * 3
    rows = {row.id: row for row in verbs.scan("all").records}
    assert [rows[one.id].value for one in requests] == values


async def test_tasks_that_come_at_once_share_two_batches_and_few_tasks_one(verbs: Verbs, monkeypatch: Any) -> None:
    """Who waits for one batch comes back at once with the next: a second one is under way meanwhile."""
    sizes: list[int] = []
    lanes = verbs.store._tasks.here()
    write = lanes._write

    async def noted(batch: list[Any]) -> list[Any]:
        sizes.append(len(batch))
        return await write(batch)

    monkeypatch.setattr(lanes, "_write", noted)
    for count in (64, 10):
        await asyncio.gather(*(verbs.store.abegin(verbs.request(key=f"{count}-{n}")) for n in range(count)))
    assert sizes == [32, 32, 10]


async def test_who_is_cancelled_in_the_queue_claims_nothing_but_its_end_is_written(verbs: Verbs) -> None:
    store = verbs.store
    ended, kept = [verbs.row("executing", key=f"k{n}").id for n in range(2)]
    queue = store._tasks.here()
    # nobody drains: what comes now is queued
    queue._free, free = 0, queue._free
    claim = asyncio.create_task(store.abegin(verbs.request(key="claimed")))
    end = asyncio.create_task(store.acas(_ending(ended, brief=True)))
    await asyncio.sleep(0)
    claim.cancel()
    end.cancel()
    await asyncio.wait([claim, end])
    queue._free = free
    # the next who comes takes the queue along
    await store.acas(_ending(kept, brief=True))
    assert claim.cancelled()
    assert end.cancelled()
    assert {row.id: row.state for row in verbs.scan("all").records} == {ended: "succeeded", kept: "succeeded"}


def test_an_end_is_found_by_its_key_before_the_table_was_ever_analysed(verbs: Verbs) -> None:
    """Found by its state, each would be looked for among all that is executing, and all that ever was."""
    with psycopg.connect(verbs.place.url, autocommit=True) as conn:
        conn.execute("ALTER TABLE conformance.actions SET (autovacuum_enabled = off)")
        try:
            requests = [verbs.request(key=f"k{n}") for n in range(640)]
            for at in range(0, len(requests), 64):
                perform(verbs, requests[at : at + 64])
            before = _read_by_state(conn)
            for at in range(0, len(requests), 64):
                perform(verbs, [_ending(one.id, brief=True) for one in requests[at : at + 64]])
            assert _read_by_state(conn) - before < len(requests)
        finally:
            conn.execute("ALTER TABLE conformance.actions RESET (autovacuum_enabled)")


def _read_by_state(conn: psycopg.Connection) -> int:
    """Return how many entries of the index of states were read, once the sessions have said so."""
    read = "SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes WHERE indexrelname = 'actions_unfinished'"
    conn.execute("SELECT pg_sleep(1.1)")
    conn.execute("SELECT pg_stat_clear_snapshot()")
    found = conn.execute(f"{read} AND schemaname = 'conformance'".encode()).fetchone()
    assert found is not None
    return int(found[0])
