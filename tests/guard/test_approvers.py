"""Who may approve a held action, and when it has enough of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.guard.faces import Face
from tests.guard.holding import held, refund

from valhalla.guard import BadDeclaration, Denied, Guard, Held, NotAnApprover
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import IllegalTransition


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


def test_approval_may_depend_on_the_arguments(face: Face) -> None:
    act = refund(face, approval=lambda order, amount: "1 of finance" if amount > 100 else None)
    assert face.call(act, "o1", 5) == "done"
    held(face, act, "o2", 500)
    assert face.ran == [("o1", 5)]


def test_secrets_stay_out_of_what_approvers_see(face: Face) -> None:
    act = face.action("pay", lambda order, token, pin: None, approval="1", redact=["pin"])
    record = face.guard.get(held(face, act, "o1", "abc", 1234))
    assert record.summary == '{"order":"o1","token":"***","pin":"***"}'


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
