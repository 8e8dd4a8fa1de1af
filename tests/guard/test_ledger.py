"""Ledger lines: one for every step, bounded, redacted, and never in the way."""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.guard.faces import ROLES, Face, Time

from valhalla.guard import Governor, Guard, Held, MemoryStore, NotDone
from valhalla.guard.contracts import Scan
from valhalla.guard.ids import Ids
from valhalla.guard.journal import RING, Journal
from valhalla.kit import redact


def events(guard: Guard) -> list[tuple[str, str]]:
    """Return what the ledger tells, oldest first."""
    return [(line.event, line.state) for line in guard.store.scan(Scan("ledger", limit=1000)).lines]


def test_every_step_has_its_line(face: Face) -> None:
    def body(k: str) -> None:
        if k == "2":
            raise NotDone

    act = face.action("act", body, key="k", approval=lambda k: "1 of finance" if k == "1" else None)
    with pytest.raises(Held) as caught:
        face.call(act, "1")
    face.do("approve", caught.value.id, by="ana")
    face.do("dispatch")
    with pytest.raises(NotDone):
        face.call(act, "2")
    assert events(face.guard) == [
        ("held", "held"),
        ("approved", "approved"),
        ("dispatch", "executing"),
        ("finish", "succeeded"),
        ("begin", "executing"),
        ("finish", "not_done"),
    ]
    assert [line.principal for line in face.guard.store.scan(Scan("ledger")).lines[:2]] == ["anonymous", "ana"]


def test_a_call_that_goes_straight_through_has_one_line_with_both_instants(time: Time) -> None:
    guard = Guard(clock=time)

    @guard.action("act", key="k")
    def act(k: str) -> None:
        time.now += 5

    act("1")
    (line,) = guard.store.scan(Scan("ledger")).lines
    assert (line.event, line.begun_at, line.at) == ("finish", time.now - 5, time.now)


def test_lines_are_paged_by_cursor() -> None:
    journal = Journal()
    for number in range(10):
        journal.append(("e", None, float(number), "a", str(number), "s", "p", None, b"", 1, None))
    first = journal.lines(limit=4)
    assert [line.id for line in first] == ["0", "1", "2", "3"]
    assert [line.id for line in journal.lines(first[-1].seq, limit=100)] == [str(n) for n in range(4, 10)]


def test_the_ring_is_bounded_and_says_what_it_dropped() -> None:
    journal = Journal(ring=100)
    for number in range(1000):
        journal.append(("e", None, 0.0, "a", str(number), "s", "p", None, b"", 1, None))
    lines = journal.lines(limit=1000)
    assert (len(lines), lines[0].seq, lines[-1].seq) == (100, 900, 999)
    assert RING == 10_000


def test_the_sink_gets_each_line_once_as_json(time: Time) -> None:
    written: list[bytes] = []
    governor = Governor(clock=time)
    guard = Guard(MemoryStore(governor, clock=time, sink=written.append), governor=governor, clock=time)
    act = guard.action("act", key="k")(lambda k: None)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: act(f"key-{n}"), range(2000)))
    guard.close()
    lines = [json.loads(line) for line in b"".join(written).splitlines()]
    assert sorted(line["key"] for line in lines) == sorted(f"key-{n}" for n in range(2000))
    assert [line["seq"] for line in lines] == list(range(2000))
    assert lines[0]["at"] == time.now


def test_secrets_in_keys_and_reasons_are_masked() -> None:
    written: list[bytes] = []
    journal = Journal(written.append)
    card = "4111 1111 1111 1111"
    journal.append(("e", None, 0.0, "a", "1", "s", "p", f"card {card}", b"", 1, f"Bearer {'x9' * 20}"))
    journal.append(("e", None, 0.0, "a", "2", "s", "p", "order-1", b"", 1, None))
    text = json.dumps([line.key for line in journal.lines()]) + b"".join(written).decode()
    assert "4111" not in text
    assert "x9x9" not in text
    assert "order-1" in text


_secrets = st.sampled_from(
    [
        "4111 1111 1111 1111", "4111111111111111", "378282246310005", "vh_abcdefghij12345", "Bearer abcdef123456",
        "https://ana:hunter2@host/x", "-----BEGIN PRIVATE KEY-----\nabc", "eyJhbGciOi.eyJzdWIi.c2ln", "a\x00b",
        "SUAM" + "A" * 54,
    ]
)  # fmt: skip


@given(st.lists(st.one_of(st.text(max_size=30), _secrets), max_size=5).map(" ".join))
def test_what_would_be_masked_is_suspected(text: str) -> None:
    if redact.text(text) != text:
        assert redact.may_change(text)


def test_a_sink_that_fails_does_not_undo_the_effect() -> None:
    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    guard = Guard(sink=full)
    act = guard.action("act", key="k")(lambda k: k)
    assert [act(str(n)) for n in range(600)] == [str(n) for n in range(600)]
    assert isinstance(guard.store, MemoryStore)
    assert guard.store.journal.sink_failures == 2


def test_old_rows_go_by_themselves(time: Time) -> None:
    guard = Guard(clock=time, roles=ROLES)
    act = guard.action("act", key="k", ttl=10, tombstone=0)(lambda k: None)
    for number in range(40_000):
        act(str(number))
        time.now += 0.01
    rows = guard.store.scan(Scan("all", limit=100_000)).records
    assert 1000 <= len(rows) < 8000


def test_ids_are_unique_across_threads_and_forks() -> None:
    ids = Ids()
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _: [next(ids) for _ in range(10_000)], range(8)))
    seen = {id_ for batch in batches for id_ in batch}
    assert len(seen) == 80_000
    assert all(len(id_) == 16 and id_.isalnum() and id_.islower() for id_ in list(seen)[:100])
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, next(ids).encode())
        os._exit(0)
    child = os.read(reading, 16).decode()
    assert child not in seen
    assert child[:9] != next(ids)[:9]


def test_a_guard_in_a_forked_child_gives_out_ids_of_its_own(guard: Guard) -> None:
    act = guard.action("act", key="k")(lambda k: None)
    act("1")
    reading, writing = os.pipe()
    if os.fork() == 0:
        act("2")
        line: Any = guard.store.scan(Scan("ledger")).lines[-1]
        os.write(writing, line.id.encode())
        os._exit(0)
    child = os.read(reading, 16).decode()
    act("2")
    assert guard.store.scan(Scan("ledger")).lines[-1].id != child
    assert threading.active_count() >= 1


def test_rows_may_go_while_threads_add_others() -> None:
    guard = Guard()
    act = guard.action("act", key="k", ttl=0.01, tombstone=0)(lambda k: k)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: [act(f"{n}-{i}") for i in range(5000)], range(4)))
    finally:
        sys.setswitchinterval(interval)
    assert len(guard.store.scan(Scan("all", limit=100_000)).records) <= 20_000
