"""What a failure says of its effect: not done, done, or nobody knows; and what may be run again."""

from __future__ import annotations

from typing import Any

import pytest
from tests.guard.faces import Face

from valhalla.guard import (
    ActionFailed,
    Done,
    DoneFailed,
    Finding,
    Indeterminate,
    NotDone,
    current,
)
from valhalla.guard.contracts import Failure
from valhalla.kernel.problems import IllegalTransition, Invalid


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
        with pytest.raises(Invalid):
            face.do("settle", record.id, "failed", evidence=" ")


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
