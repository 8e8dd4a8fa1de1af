"""One key, one effect: duplicates, results, failures, leases, tombstones."""

from __future__ import annotations

import threading
import time as clock
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.guard.faces import Face, Time

from valhalla.guard import (
    ActionFailed,
    BadArguments,
    BadKey,
    Done,
    DoneFailed,
    Finding,
    Guard,
    Indeterminate,
    InProgress,
    KeyReuse,
    NotDone,
    ResultForgotten,
    current,
)
from valhalla.guard.contracts import BeginRequest, CasRequest, Effect, Failure
from valhalla.kernel.problems import IllegalTransition


def test_a_repetition_gets_the_first_result_and_runs_nothing(face: Face) -> None:
    pay = face.action("payment", lambda order, amount=1: face.ran.append(order) or {"paid": amount}, key="order")
    first = face.call(pay, "o1", amount=5)
    first["paid"] = "changed by the caller"
    assert face.call(pay, "o1", 5) == {"paid": 5}
    assert face.ran == ["o1"]
    assert face.outcome(pay, "o1", 5).status == "replayed"


@pytest.mark.parametrize("value", [None, 0, "", [], (1, "a"), {1: {2, 3}}, b"x"])
def test_any_result_comes_back_as_it_was(face: Face, value: Any) -> None:
    act = face.action("act", lambda k: face.ran.append(k) or value, key="k")
    assert face.call(act, "1") == value
    again = face.call(act, "1")
    assert (again, type(again)) == (value, type(value))
    assert face.ran == ["1"]


def test_a_result_that_cannot_be_kept_is_not_run_again(face: Face) -> None:
    act = face.action("act", lambda k: face.ran.append(k) or threading.Lock(), key="k")
    face.call(act, "1")
    with pytest.raises(ResultForgotten):
        face.call(act, "1")
    assert face.ran == ["1"]


def test_other_arguments_under_the_same_key_are_refused(face: Face) -> None:
    pay = face.action("payment", lambda order, amount: face.ran.append(amount), key="order")
    face.call(pay, "o1", 5)
    with pytest.raises(KeyReuse):
        face.call(pay, "o1", 6)
    assert face.ran == [5]


def test_the_fingerprint_takes_the_fields_that_matter(face: Face) -> None:
    pay = face.action(
        "payment", lambda order, note: face.ran.append(note), key="order", fingerprint=lambda order, note: order
    )
    face.call(pay, "o1", "first")
    face.call(pay, "o1", "second")
    assert face.ran == ["first"]


def test_fifty_callers_of_one_key_run_it_once(face: Face) -> None:
    def slow(k: str) -> str:
        face.ran.append(k)
        if not face.is_async:
            clock.sleep(0.05)
        return "done"

    act = face.action("act", slow, key="k")
    assert set(face.together(act, [("1",)] * 50)) == {"done"}
    assert face.ran == ["1"]


def test_a_duplicate_without_time_is_told_to_come_back(guard: Guard) -> None:
    began, go = threading.Event(), threading.Event()

    @guard.action("act", key="k")
    def act(k: str) -> str:
        began.set()
        go.wait(10)
        return k

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(act, "1")
        began.wait(10)
        with guard.acting(deadline=0.02), pytest.raises(InProgress) as refused:
            act("1")
        go.set()
        assert first.result(10) == "1"
    assert (refused.value.retry_after or 0) > 0


def test_an_unknown_end_is_never_run_again(face: Face) -> None:
    def act(k: str) -> None:
        face.ran.append(k)
        raise TimeoutError("nobody knows")

    pay = face.action("payment", act, key="k")
    with pytest.raises(TimeoutError):
        face.call(pay, "1")
    with pytest.raises(Indeterminate):
        face.call(pay, "1")
    assert face.ran == ["1"]
    (record,) = face.guard.waiting(kind="indeterminate")
    assert record.failure == Failure("TimeoutError", "nobody knows")


def test_what_is_certainly_not_done_may_be_tried_again(face: Face) -> None:
    def act(k: str) -> str:
        face.ran.append(k)
        if len(face.ran) < 3:
            raise NotDone("refused") if len(face.ran) == 1 else ConnectionRefusedError
        return "done"

    pay = face.action("payment", act, key="k")
    for error in (NotDone, ConnectionRefusedError):
        with pytest.raises(error):
            face.call(pay, "1")
    assert face.call(pay, "1") == "done"
    assert len(face.ran) == 3


def test_a_business_failure_is_the_answer_of_its_key(face: Face) -> None:
    class Declined(Exception):  # noqa: N818 - a provider's word
        pass

    def act(k: str) -> None:
        face.ran.append(k)
        raise Declined("insufficient funds") if k == "1" else DoneFailed("card 4111 1111 1111 1111")

    pay = face.action("payment", act, key="k", failures=Declined)
    for key, error in (("1", Declined), ("2", DoneFailed)):
        with pytest.raises(error):
            face.call(pay, key)
        with pytest.raises(ActionFailed) as kept:
            face.call(pay, key)
        assert kept.value.extra["kind"] == error.__name__
        assert "4111" not in kept.value.detail
    assert face.ran == ["1", "2"]


@pytest.mark.parametrize("effect", ["none", "idempotent"])
def test_a_repeatable_action_runs_again_after_any_error(face: Face, effect: str) -> None:
    def act(k: str) -> str:
        face.ran.append(k)
        if len(face.ran) == 1:
            raise RuntimeError
        return "done"

    do = face.action("act", act, key="k", effect=effect)
    with pytest.raises(RuntimeError):
        face.call(do, "1")
    assert face.call(do, "1") == "done"


def test_the_provider_gets_one_key_for_all_executions_of_one_effect(face: Face) -> None:
    def act(k: str) -> None:
        face.ran.append(current().idempotency_key)
        raise NotDone

    do = face.action("act", act, key="k")
    for _ in range(3):
        with pytest.raises(NotDone):
            face.call(do, "1")
    assert face.ran == [face.ran[0]] * 3
    assert face.ran[0] is not None


def test_a_person_settles_what_nobody_knows(face: Face) -> None:
    def act(k: str) -> str:
        face.ran.append(k)
        if len(face.ran) == 1:
            raise RuntimeError
        return "again"

    do = face.action("act", act, key="k")
    for outcome, value in (("succeeded", "found"), ("not_done", None)):
        face.ran.clear()
        with pytest.raises(RuntimeError):
            face.call(do, outcome)
        (record,) = face.guard.waiting(kind="indeterminate")
        settled = face.do("settle", record.id, outcome, evidence="provider's log", by="ana", value=value)
        assert (settled.state, settled.evidence) == (outcome, "provider's log")
        assert face.call(do, outcome) == ("found" if outcome == "succeeded" else "again")
        with pytest.raises(IllegalTransition):
            face.do("settle", record.id, "failed", evidence="too late")


@pytest.mark.parametrize(
    ("found", "expected", "runs"),
    [
        (Done("found"), "found", 1),
        (Finding.NOT_DONE, "again", 2),
        (Finding.UNKNOWN, Indeterminate, 1),
        (ValueError(), Indeterminate, 1),
    ],
)
def test_reconcile_finds_out(face: Face, found: Any, expected: Any, runs: int) -> None:
    def act(k: str) -> str:
        face.ran.append(k)
        if len(face.ran) == 1:
            raise RuntimeError
        return "again"

    def reconcile(record: Any) -> Any:
        assert record.key == "1"
        if isinstance(found, Exception):
            raise found
        return found

    do = face.action("act", act, key="k", reconcile=face.function(reconcile))
    with pytest.raises(RuntimeError):
        face.call(do, "1")
    if expected is Indeterminate:
        with pytest.raises(Indeterminate):
            face.call(do, "1")
    else:
        assert face.call(do, "1") == expected
    assert len(face.ran) == runs


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


@pytest.mark.parametrize(
    "key",
    ["", "x" * 10_240, " o1", "o1 ", "o1\n", "o\u200b1", "o\ud800", None, 1.5, b"o1", True],
    ids=lambda key: ascii(key)[:20],
)
def test_a_key_that_cannot_be_told_from_another_is_refused(face: Face, key: Any) -> None:
    do = face.action("act", lambda k: face.ran.append([k]), key="k")
    with pytest.raises(BadKey):
        face.call(do, key)
    assert face.outcome(do, key).status == "denied"
    assert face.ran == []


@pytest.mark.parametrize(
    "argument",
    [object(), float("nan"), [float("inf")], {"a": {"b": float("nan")}}, 2**70, lambda: 0, "\ud800"],
    ids=["object", "nan", "infinity", "deep nan", "2**70", "function", "surrogate"],
)
def test_arguments_without_a_canonical_form_are_refused(face: Face, argument: Any) -> None:
    do = face.action("act", lambda k, a: face.ran.append(k), key="k")
    with pytest.raises(BadArguments):
        face.call(do, "1", argument)
    assert face.ran == []


def test_a_call_that_python_refuses_claims_nothing(face: Face) -> None:
    do = face.action("act", lambda k, a: face.ran.append(k), key="k")
    with pytest.raises(TypeError):
        face.call(do, "1")
    with pytest.raises(TypeError):
        face.call(do, "1", 2, b=3)
    face.call(do, "1", 2)
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


def test_keyless_calls_all_run_but_an_unknown_end_is_kept(face: Face) -> None:
    def act(x: int) -> None:
        face.ran.append(x)
        if x == 3:
            raise RuntimeError

    do = face.action("act", act)
    face.call(do, 1)
    face.call(do, 1)
    with pytest.raises(RuntimeError):
        face.call(do, 3)
    (record,) = face.guard.waiting(kind="indeterminate")
    assert face.guard.get(record.id).name == "act"
    assert face.ran == [1, 1, 3]


def test_methods_are_actions_too(guard: Guard) -> None:
    class Shop:
        ran: list[str] = []

        @guard.action("shop.pay", key="order")
        def pay(self, order: str) -> str:
            self.ran.append(order)
            return order

    assert Shop().pay("1") == Shop().pay("1") == "1"
    assert Shop.ran == ["1"]
