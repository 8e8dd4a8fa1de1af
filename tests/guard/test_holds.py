"""Held actions: each is kept, counted, and run once."""

# ruff: noqa: PLW0108 - a lambda names the parameters, which are what is guarded

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.guard.faces import Face
from tests.guard.holding import held, refund

from valhalla.guard import BadArguments, Guard, Held, HoldGone, HoldNotFound, LimitExceeded, TooManyHolds, UnknownAction


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


def test_what_cannot_be_kept_cannot_be_held(face: Face) -> None:
    act = refund(face, key=None, fingerprint=lambda order: "always")
    with pytest.raises(BadArguments):
        face.call(act, object())
    assert face.guard.waiting() == ()


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
