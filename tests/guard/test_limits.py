"""Limits of actions: all or none, after dedup, and nothing is left of a refused call."""

# ruff: noqa: PLW0108 - a lambda names the parameters, which are what is guarded

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.guard.faces import ROLES, Face, Time

from valhalla.guard import Governor, Guard, LimitExceeded
from valhalla.guard.contracts import Scan
from valhalla.kernel.problems import Invalid


def act(face: Face, **options: Any) -> Any:
    """Declare an action that notes its first argument."""
    return face.action("act", lambda k, cost=1, user="": face.ran.append(k) or k, key="k", **options)


def test_a_refused_call_leaves_no_claim(face: Face, time: Time) -> None:
    limited = act(face, limit="2/minute")
    face.call(limited, "1")
    face.call(limited, "2")
    with pytest.raises(LimitExceeded) as refused:
        face.call(limited, "3")
    assert refused.value.retry_after == pytest.approx(60)
    assert refused.value.policies[0][:2] == ("per-minute", 0)
    outcome = face.outcome(limited, "3")
    assert (outcome.status, outcome.retry_after) == ("limited", pytest.approx(60))
    assert face.guard.store.scan(Scan("key", name="act", key="3")).records == ()
    time.now += 61
    assert face.call(limited, "3") == "3"


@pytest.mark.parametrize("text", ["2 per minute", "2/minute", " 2 per minute"])
def test_a_limit_is_written_with_a_slash_or_in_words(face: Face, text: str) -> None:
    limited = act(face, limit=text)
    assert [face.outcome(limited, key).status for key in "123"] == ["succeeded", "succeeded", "limited"]


def test_a_repetition_is_neither_throttled_nor_charged(face: Face) -> None:
    limited = act(face, limit="2/hour")
    assert [face.call(limited, "1") for _ in range(5)] == ["1"] * 5
    face.call(limited, "2")
    assert face.call(limited, "1") == "1"
    assert face.ran == ["1", "2"]


def test_several_limits_are_charged_all_or_none(face: Face, time: Time) -> None:
    limited = act(face, limit=["2/second", "3/minute"])
    for key in "12":
        face.call(limited, key)
    for _ in range(5):
        with pytest.raises(LimitExceeded):
            face.call(limited, "3")
    time.now += 2
    face.call(limited, "3")
    with pytest.raises(LimitExceeded):
        face.call(limited, "4")


def test_cost_and_subject_come_from_the_arguments(face: Face) -> None:
    limited = act(face, limit="10/hour", cost="cost", subject="user")
    face.call(limited, "1", 9, "ana")
    with pytest.raises(LimitExceeded):
        face.call(limited, "2", 2, "ana")
    face.call(limited, "3", 9, "bo")
    face.call(limited, "4", 1, "ana")
    assert face.ran == ["1", "3", "4"]


@pytest.mark.parametrize("cost", [0, -1, 1.5, True])
def test_a_cost_that_is_none_is_refused(face: Face, cost: Any) -> None:
    limited = act(face, limit="10/hour", cost="cost")
    with pytest.raises(Invalid):
        face.call(limited, "1", cost)
    assert face.outcome(limited, "1", cost).status == "denied"
    assert face.ran == []


@pytest.mark.parametrize("limit", ["0/hour", "-1/hour", "many/hour", "1/0 s", "1/fortnight"])
def test_a_limit_that_nobody_could_mean_is_refused(face: Face, limit: str) -> None:
    with pytest.raises(Invalid):
        act(face, limit=limit)


def test_a_limit_by_name_is_the_governors_and_an_unknown_one_denies(time: Time) -> None:
    governor = Governor({"money": "1/hour"}, clock=time)
    guard = Guard(governor=governor, roles=ROLES, clock=time)
    one = guard.action("one", limit="money")(lambda: 1)
    two = guard.action("two", limit="money")(lambda: 2)
    three = guard.action("three", limit="mony")(lambda: 3)
    assert one() == 1
    for action in (two, three):
        with pytest.raises(LimitExceeded):
            action()


def test_a_changed_limit_keeps_what_was_used(face: Face) -> None:
    limited = act(face, limit="3/hour")
    for key in "123":
        face.call(limited, key)
    face.guard.governor.set_limit("act", "4/hour")
    face.call(limited, "4")
    with pytest.raises(LimitExceeded):
        face.call(limited, "5")


def test_fifty_threads_get_exactly_what_is_allowed(guard: Guard) -> None:
    ran: list[int] = []
    limited = guard.action("act", key="k", limit="20/hour")(lambda k: ran.append(k))
    barrier = threading.Barrier(50)

    def one(number: int) -> bool:
        barrier.wait(20)
        try:
            limited(str(number % 40))
        except LimitExceeded:
            return False
        return True

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(one, range(50)))
    assert len(ran) == len(set(ran)) == 20
