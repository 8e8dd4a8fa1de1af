"""What makes two errors the same, and what is kept of one."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.features.observability.failures import rules


def caught(work: Any) -> BaseException:
    with pytest.raises(BaseException) as raised:  # noqa: PT011
        work()
    return raised.value


def broken(text: str = "x") -> None:
    raise ValueError(text)


def other() -> None:
    raise ValueError("x")


def through_a_library() -> None:
    json.loads("{")


def key(error: BaseException, route: str = "GET /x") -> str:
    return rules.fingerprint(error, rules.places(error), route)


def test_the_same_error_is_the_same_whatever_it_says() -> None:
    assert key(caught(lambda: broken("one"))) == key(caught(lambda: broken("two")))


def test_type_place_and_route_make_it_another() -> None:
    error = caught(broken)
    assert len({key(error), key(error, "GET /y"), key(caught(other)), key(caught(through_a_library))}) == 4


def test_its_place_is_ours_and_not_the_library_s() -> None:
    places = rules.places(caught(through_a_library))
    assert places[0].endswith("through_a_library")
    assert not any("json" in place for place in places)


def test_a_group_stands_for_what_is_in_it() -> None:
    group = ExceptionGroup("several", [ExceptionGroup("inner", [KeyError("k"), ValueError("v")])])
    assert isinstance(rules.cause(group), KeyError)


def test_a_traceback_holds_no_secret_and_no_values() -> None:
    secret = "vh_local_" + "a" * 40

    def work() -> None:
        hidden = secret  # noqa: F841
        raise RuntimeError("postgresql://user:hunter2secret@db/x")

    shown = rules.sample(caught(work))
    assert "Traceback" in shown
    assert "RuntimeError" in shown
    assert "hunter2secret" not in shown
    assert "a" * 40 not in shown


def test_what_is_kept_is_bounded() -> None:
    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        raise RuntimeError("y" * 1_000_000)

    error = caught(lambda: deep(sys.getrecursionlimit() // 3))
    assert len(rules.sample(error)) < 10_000
    assert len(rules.message(error)) < 600
    assert len(rules.places(error)) == 3


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_an_error_that_cannot_say_what_it_is() -> None:
    def work() -> None:
        raise HostileError

    error = caught(work)
    assert rules.message(error)
    assert "HostileError" in rules.sample(error)
    assert key(error)


@given(st.text(max_size=200))
def test_any_text_can_be_stored(said: str) -> None:
    message = rules.message(caught(lambda: broken(said)))
    assert "\x00" not in message
    message.encode()
