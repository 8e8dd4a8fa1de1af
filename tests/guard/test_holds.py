"""Held actions: who may approve, what is checked again at dispatch, and that each runs once."""

# ruff: noqa: PLW0108 - a lambda names the parameters, which are what is guarded

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.guard.faces import Face, Time

from valhalla.guard import (
    BadArguments,
    BadDeclaration,
    Denied,
    Done,
    Guard,
    Held,
    HoldGone,
    HoldNotFound,
    KeyReuse,
    LimitExceeded,
    NotAnApprover,
    TooManyHolds,
    UnknownAction,
    Verdict,
)
from valhalla.guard.contracts import CasRequest
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import IllegalTransition


def refund(face: Face, **options: Any) -> Any:
    """Declare the action that most tests hold."""
    options = {"key": "order", "approval": "2 of finance", **options}
    return face.action("refund", lambda order, amount=1: face.ran.append((order, amount)) or "done", **options)


def held(face: Face, action: Any, *args: Any) -> str:
    """Call and return the id of the hold."""
    with pytest.raises(Held) as caught:
        face.call(action, *args)
    assert caught.value.id is not None
    return caught.value.id


def test_it_runs_after_two_people_and_once(face: Face) -> None:
    act = refund(face)
    id_ = held(face, act, "o1")
    assert held(face, act, "o1") == id_
    assert face.do("approve", id_, by="ana").state == "held"
    assert face.do("dispatch") == []
    assert face.do("approve", id_, by="bo").state == "approved"
    assert face.ran == []
    (outcome,) = face.do("dispatch")
    assert (outcome.status, outcome.value) == ("succeeded", "done")
    assert face.do("dispatch") == []
    assert face.call(act, "o1") == "done"
    assert face.ran == [("o1", 1)]


def test_the_caller_who_comes_back_may_run_it(face: Face) -> None:
    act = refund(face, approval="1 of finance")
    face.do("approve", held(face, act, "o1"), by="ana")
    assert face.call(act, "o1") == "done"
    assert face.call(act, "o1") == "done"
    assert face.ran == [("o1", 1)]


def test_a_waiting_caller_and_many_workers_run_it_once(guard: Guard) -> None:
    ran: list[str] = []

    @guard.action("refund", key="order", approval="1 of finance")
    def act(order: str) -> str:
        ran.append(order)
        return "done"

    with ThreadPoolExecutor(9) as pool:
        waiting = pool.submit(act.options(wait=20), "o1")
        while not (holds := guard.waiting()):
            threading.Event().wait(0.001)
        guard.approve(holds[0].id, by="ana")
        list(pool.map(lambda _: guard.dispatch(), range(8)))
        assert waiting.result(20) == "done"
    assert ran == ["o1"]


@pytest.mark.parametrize("by", ["eve", "cy"])
def test_the_wrong_person_cannot_approve(face: Face, by: str) -> None:
    id_ = held(face, refund(face), "o1")
    for decision in ("approve", "deny"):
        with pytest.raises(NotAnApprover):
            face.do(decision, id_, by=by)
    assert face.guard.get(id_).approvals == ()


def test_nobody_counts_twice(face: Face) -> None:
    id_ = held(face, refund(face), "o1")
    face.do("approve", id_, by="ana")
    with pytest.raises(NotAnApprover):
        face.do("approve", id_, by="ana")
    assert face.guard.get(id_).state == "held"


def test_the_requester_cannot_approve(face: Face) -> None:
    with face.guard.acting("ana"):
        id_ = held(face, refund(face), "o1")
    with pytest.raises(NotAnApprover):
        face.do("approve", id_, by="ana")
    face.do("approve", id_, by="bo")
    assert face.do("approve", id_, by="di").state == "approved"


def test_steps_are_taken_in_order_by_different_people(face: Face) -> None:
    id_ = held(face, refund(face, approval="1 of ops then 1 of finance"), "o1")
    with pytest.raises(NotAnApprover):
        face.do("approve", id_, by="ana")
    face.do("approve", id_, by="di")
    with pytest.raises(NotAnApprover):
        face.do("approve", id_, by="di")
    assert face.do("approve", id_, by="ana").state == "approved"


def test_a_principal_brings_its_roles(face: Face) -> None:
    id_ = held(face, refund(face, approval="1 of board"), "o1")
    with pytest.raises(NotAnApprover):
        face.do("approve", id_, by=Principal("x", "x", frozenset({"admin"})))
    assert face.do("approve", id_, by=Principal("y", "y", frozenset({"board"}))).state == "approved"


def test_a_denial_is_the_answer_of_its_key(face: Face) -> None:
    act = refund(face)
    id_ = held(face, act, "o1")
    face.do("deny", id_, by="bo", reason="not ours")
    with pytest.raises(Denied, match="not ours"):
        face.call(act, "o1")
    with pytest.raises(IllegalTransition):
        face.do("approve", id_, by="ana")
    assert face.ran == []


def test_an_approval_that_comes_too_late_runs_nothing(face: Face, time: Time) -> None:
    act = refund(face, expires_in=60)
    id_ = held(face, act, "o1")
    face.do("approve", id_, by="ana")
    time.now += 61
    with pytest.raises(HoldGone):
        face.do("approve", id_, by="bo")
    assert face.guard.get(id_).state == "expired"
    assert held(face, act, "o1") != id_
    assert face.ran == []


def test_an_approved_hold_expires_too(face: Face, time: Time) -> None:
    act = refund(face, expires_in=60, approval="1 of finance")
    for how in ("dispatch", "call", "sweep"):
        id_ = held(face, act, how)
        face.do("approve", id_, by="ana")
        time.now += 61
        if how == "call":
            assert held(face, act, how) != id_
        else:
            face.do(how)
        assert face.guard.get(id_).state == "expired"
    assert face.ran == []


def test_a_changed_argument_is_a_new_proposal(face: Face) -> None:
    act = refund(face, approval="1 of finance")
    first = held(face, act, "o1", 5)
    second = held(face, act, "o1", 6)
    assert face.guard.get(first).state == "superseded"
    face.do("approve", second, by="ana")
    third = held(face, act, "o1", 7)
    assert face.guard.get(second).state == "stale"
    with pytest.raises(HoldGone):
        face.do("approve", first, by="ana")
    face.do("approve", third, by="ana")
    face.do("dispatch")
    assert face.ran == [("o1", 7)]


def test_another_principal_cannot_replace_a_proposal(face: Face) -> None:
    act = refund(face)
    id_ = held(face, act, "o1", 5)
    with face.guard.acting("mallory"), pytest.raises(KeyReuse):
        face.call(act, "o1", 6)
    assert face.guard.get(id_).state == "held"


def test_arguments_that_were_changed_in_the_store_do_not_run(face: Face) -> None:
    from valhalla.guard.judging import PAYLOADS

    id_ = held(face, refund(face, approval="1 of finance"), "o1", 5)
    face.do("approve", id_, by="ana")
    forged = {"payload": PAYLOADS.encode((("o1", 5_000_000), {}))}
    face.guard.store.cas(CasRequest(id_, frozenset({"approved"}), "approved", None, "mallory", patch=forged))
    assert face.do("dispatch") == []
    assert (face.guard.get(id_).state, face.ran) == ("stale", [])


def test_approvals_that_nobody_gave_do_not_count_at_dispatch(face: Face) -> None:
    id_ = held(face, refund(face), "o1")
    face.do("approve", id_, by="ana")
    face.guard.store.cas(CasRequest(id_, frozenset({"held"}), "approved", None, "mallory"))
    assert face.do("dispatch") == []
    assert (face.guard.get(id_).state, face.ran) == ("stale", [])


def test_a_policy_that_changed_makes_an_approval_stale(face: Face) -> None:
    act = refund(face, approval="1 of finance")
    id_ = held(face, act, "o1")
    face.do("approve", id_, by="ana")
    face.guard.policy_version = "2"
    assert held(face, act, "o1") != id_
    assert (face.guard.get(id_).state, face.ran) == ("stale", [])


def test_a_policy_that_denies_now_stops_the_dispatch(face: Face) -> None:
    id_ = held(face, refund(face, approval="1 of finance"), "o1")
    face.do("approve", id_, by="ana")
    face.guard.policy = lambda proposal: Verdict.DENY
    assert face.do("dispatch") == []
    assert (face.guard.get(id_).state, face.ran) == ("stale", [])


def test_a_hold_can_be_taken_back_until_it_runs(face: Face) -> None:
    act = refund(face, approval="1 of finance")
    id_ = held(face, act, "o1")
    face.do("approve", id_, by="ana")
    assert face.do("cancel", id_, by="somebody").state == "cancelled"
    assert face.do("dispatch") == []
    with pytest.raises(HoldGone):
        face.do("approve", id_, by="bo")
    assert held(face, act, "o1") != id_
    with pytest.raises(HoldNotFound):
        face.do("cancel", "nothing", by="somebody")


def test_open_holds_are_capped_per_principal(face: Face) -> None:
    act = refund(face)
    face.guard.max_holds = 2
    ids = [held(face, act, f"o{n}") for n in range(2)]
    with pytest.raises(TooManyHolds):
        face.call(act, "o3")
    with face.guard.acting("another"):
        held(face, act, "o4")
    face.do("cancel", ids[0])
    held(face, act, "o3")


def test_limits_are_charged_at_dispatch_not_by_the_proposal(face: Face) -> None:
    act = refund(face, approval="1 of finance", limit="1/hour")
    ids = [held(face, act, f"o{n}") for n in range(3)]
    for id_ in ids:
        face.do("approve", id_, by="ana")
    outcomes = face.do("dispatch")
    assert [outcome.status for outcome in outcomes] == ["succeeded", "limited", "limited"]
    with pytest.raises(LimitExceeded):
        face.call(act, "o2")
    assert face.guard.get(ids[1]).state == "approved"
    assert face.ran == [("o0", 1)]


def test_keyless_holds_join_equal_calls_while_they_are_open(face: Face) -> None:
    act = refund(face, key=None, approval="1 of finance")
    first = held(face, act, "o1")
    assert held(face, act, "o1") == first
    face.do("approve", first, by="ana")
    face.do("dispatch")
    assert held(face, act, "o1") != first, "a second equal refund is a second refund"
    assert face.ran == [("o1", 1)]


def test_approval_may_depend_on_the_arguments(face: Face) -> None:
    act = refund(face, approval=lambda order, amount: "1 of finance" if amount > 100 else None)
    assert face.call(act, "o1", 5) == "done"
    held(face, act, "o2", 500)
    assert face.ran == [("o1", 5)]


def test_what_cannot_be_kept_cannot_be_held(face: Face) -> None:
    act = refund(face, key=None, fingerprint=lambda order: "always")
    with pytest.raises(BadArguments):
        face.call(act, object())
    assert face.guard.waiting() == ()


def test_secrets_stay_out_of_what_approvers_see(face: Face) -> None:
    act = face.action("pay", lambda order, token, pin: None, approval="1", redact=["pin"])
    record = face.guard.get(held(face, act, "o1", "abc", 1234))
    assert record.summary == '{"order":"o1","token":"***","pin":"***"}'


def test_a_worker_without_the_action_leaves_it_for_another(face: Face) -> None:
    act = face.function(lambda order: face.ran.append(order))
    options = {"key": "o1", "approval": "1 of finance"}
    run = face.guard.arun if face.is_async else face.guard.run
    with pytest.raises(Held) as caught:
        face.call(run, "refund", act, "o1", **options)
    face.do("approve", caught.value.id, by="ana")
    assert face.do("dispatch") == []
    with pytest.raises(UnknownAction):
        face.do("dispatch", strict=True)
    face.call(run, "refund", act, "o1", **options)
    assert face.ran == ["o1"]


@pytest.mark.parametrize("text", ["", "0 of finance", "some of finance", "2 off finance", "-1", "2 of"])
def test_a_quorum_that_cannot_be_read_is_refused(guard: Guard, text: str) -> None:
    with pytest.raises(BadDeclaration):
        guard.action("refund", approval=text)(lambda: None)


def test_two_people_who_decide_at_once_both_count(guard: Guard) -> None:
    @guard.action("refund", key="order", approval="2 of finance")
    def act(order: str) -> None: ...

    for number in range(20):
        with pytest.raises(Held) as caught:
            act(f"o{number}")
        id_ = caught.value.id
        assert id_ is not None
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda by, id_=id_: guard.approve(id_, by=by), ["ana", "bo"]))
        assert guard.get(id_).state == "approved"


def test_holds_that_cannot_run_here_do_not_hide_the_others(guard: Guard) -> None:
    ran: list[int] = []
    for name in ("elsewhere", "limited"):
        guard.governor.set_limit(name, "1/hour")
        guard.governor.take(name)
        for n in range(3):
            guard.run(
                name, ran.append, n, kwargs={}, key=f"{name}{n}", approval="1 of anyone", limit=name, outcome=True
            )
    guard.action("limited", approval="1 of anyone", limit="limited")(lambda n: ran.append(n))
    guard.action("last", approval="1 of anyone")(lambda n: ran.append(n)).outcome(9)
    for record in guard.waiting():
        guard.approve(record.id, by="ana")
    outcomes = guard.dispatch(1)
    assert [outcome.status for outcome in outcomes] == ["limited"] * 3 + ["succeeded"]
    assert ran == [9]


def test_a_hold_whose_arguments_no_longer_fit_becomes_stale(guard: Guard) -> None:
    held = guard.run("act", lambda a, b: None, 1, 2, approval="1 of anyone", outcome=True)
    guard.approve(held.id, by="ana")
    guard.action("act", approval="1 of anyone")(lambda a: None)
    assert guard.dispatch() == []
    assert guard.get(held.id).state == "stale"


def test_a_sweep_asks_about_rows_behind_those_that_nobody_can_settle(face: Face) -> None:
    def unknown(k: str) -> None:
        raise OSError(k)

    plain = face.action("plain", unknown, key="k")
    asked = face.action("asked", unknown, key="k", reconcile=lambda record: Done("found"))
    for n in range(3):
        face.outcome(plain, str(n))
    face.outcome(asked, "last")
    assert face.do("sweep", 1).reconciled == 1
    assert face.outcome(asked, "last").value == "found"
