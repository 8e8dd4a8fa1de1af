"""One key, one effect: which calls are the same, and what the second one gets."""

from __future__ import annotations

import threading
import time as clock
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.guard.faces import Face

from valhalla.guard import (
    BadArguments,
    BadKey,
    Guard,
    InProgress,
    KeyReuse,
    ResultForgotten,
)


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


def test_methods_are_actions_too(guard: Guard) -> None:
    class Shop:
        ran: list[str] = []

        @guard.action("shop.pay", key="order")
        def pay(self, order: str) -> str:
            self.ran.append(order)
            return order

    assert Shop().pay("1") == Shop().pay("1") == "1"
    assert Shop.ran == ["1"]
