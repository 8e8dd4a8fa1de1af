"""What time does to a key: leases lapse, results are dropped, tombstones stay, clocks jump."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.guard.faces import Face, Time

from valhalla.guard import (
    Guard,
    Indeterminate,
    ResultForgotten,
)
from valhalla.guard.contracts import BeginRequest, CasRequest, Effect


def test_a_result_is_dropped_after_its_time_and_the_fact_after_its_own(face: Face, time: Time) -> None:
    do = face.action("act", lambda k: face.ran.append(k) or "done", key="k", ttl=10, tombstone=100)
    face.call(do, "1")
    time.now += 11
    assert face.guard.clear_expired() == 1
    with pytest.raises(ResultForgotten):
        face.call(do, "1")
    time.now += 100
    assert face.guard.clear_expired() == 1
    assert face.call(do, "1") == "done"
    assert face.ran == ["1", "1"]


def test_an_expired_result_is_not_replayed_before_it_is_cleared(face: Face, time: Time) -> None:
    do = face.action("act", lambda k: face.ran.append(k) or "done", key="k", ttl=10, tombstone=100)
    face.call(do, "1")
    time.now += 11
    with pytest.raises(ResultForgotten):
        face.call(do, "1")
    assert face.ran == ["1"]


def test_a_lapsed_lease_is_reported_and_the_late_worker_settles_it(guard: Guard, time: Time) -> None:
    began, go = threading.Event(), threading.Event()
    ran: list[str] = []

    @guard.action("act", key="k", lease=5, heartbeat=False)
    def act(k: str) -> str:
        ran.append(k)
        began.set()
        go.wait(10)
        return "late"

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(act, "1")
        began.wait(10)
        time.now += 6
        with pytest.raises(Indeterminate):
            act("1")
        go.set()
        assert first.result(10) == "late"
    assert act("1") == "late"
    assert ran == ["1"]


def test_a_worker_that_lost_its_generation_cannot_overwrite(guard: Guard, time: Time) -> None:
    began, go = threading.Event(), threading.Event()
    ran: list[int] = []

    @guard.action("act", key="k", lease=5, heartbeat=False, effect="idempotent")
    def act(k: str) -> int:
        ran.append(len(ran))
        if len(ran) == 1:
            began.set()
            go.wait(10)
            return 1
        return 2

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(act, "1")
        began.wait(10)
        time.now += 6
        assert act("1") == 2
        go.set()
        assert first.result(10) == 2, "the fenced result is what counts"
    assert act("1") == 2
    (row,) = guard.waiting(kind="all")
    assert row.generation == 2
    assert row.evidence is not None


def test_a_sweep_marks_lapsed_executions(guard: Guard, time: Time) -> None:
    for key, effect in (("1", Effect.IRREVERSIBLE), ("2", Effect.IDEMPOTENT)):
        guard.store.begin(BeginRequest(f"id{key}", "act", effect, key, b"", "somebody", lease=5))
    time.now += 4
    assert guard.sweep().lapsed == 0
    guard.store.cas(CasRequest("id1", frozenset({"executing"}), "executing", None, "heart", lease=5))
    time.now += 2
    assert guard.sweep().lapsed == 1
    time.now += 4
    assert guard.sweep().lapsed == 1
    assert [guard.get(f"id{key}").state for key in "12"] == ["indeterminate", "not_done"]


def test_a_clock_that_jumps_back_lets_nothing_run_twice(face: Face, time: Time) -> None:
    do = face.action("act", lambda k: face.ran.append(k) or "done", key="k")
    face.call(do, "1")
    time.now -= 1_000_000
    assert face.call(do, "1") == "done"
    face.call(do, "2")
    assert face.ran == ["1", "2"]
