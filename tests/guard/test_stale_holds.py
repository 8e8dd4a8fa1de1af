"""What is checked again before an approved action runs: time, arguments, approvals, policies."""

from __future__ import annotations

import pytest
from tests.guard.faces import Face, Time
from tests.guard.holding import held, refund

from valhalla.guard import Done, Guard, HoldGone, KeyReuse, Verdict
from valhalla.guard.contracts import CasRequest


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
