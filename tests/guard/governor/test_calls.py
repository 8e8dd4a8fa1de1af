"""The governor's calls, one promise each."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest
from tests.guard.governor.taking import KINDS, Kind, drained, limit_of
from tests.guard.governor.virtual import VirtualClock

from valhalla.guard.errors import LimitExceeded
from valhalla.guard.governor import BadLimit, BadTake, Governor, Limit, NeverPossible, UnknownResource


@KINDS
def test_subjects_are_counted_apart(kind: Kind, clock: VirtualClock) -> None:
    governor = Governor({"mail": limit_of(kind)}, clock=clock)
    assert [drained(governor, subject=name) for name in ("a", "b", "A", "a ", "")] == [10] * 5


@KINDS
def test_scope_all_counts_subjects_together(kind: Kind, clock: VirtualClock) -> None:
    governor = Governor({"mail": limit_of(kind, scope="all")}, clock=clock)
    check = governor.bind("mail")
    assert sum(check(f"user:{number}").allowed for number in range(30)) == 10
    assert governor.buckets() == 1


@KINDS
def test_peek_changes_nothing(kind: Kind, clock: VirtualClock) -> None:
    governor = Governor({"mail": limit_of(kind)}, clock=clock)
    for _ in range(50):
        assert governor.peek("mail", "a").allowed
    assert governor.buckets() == 0, "looking makes no bucket"
    governor.take("mail", "a", 4)
    before = governor.peek("mail", "a").policies
    assert [governor.peek("mail", "a", 7).allowed, governor.peek("mail", "a", 6).allowed] == [False, True]
    assert governor.peek("mail", "a").policies == before
    assert drained(governor, subject="a") == 6


@KINDS
def test_cost_is_taken_whole_or_not_at_all(kind: Kind, clock: VirtualClock) -> None:
    governor = Governor({"mail": limit_of(kind)}, clock=clock)
    assert governor.take("mail", cost=7).allowed
    assert not governor.take("mail", cost=4).allowed
    assert governor.take("mail", cost=3).allowed
    assert not governor.take("mail").allowed


@KINDS
@pytest.mark.parametrize("cost", [0, -1, -100, True, 1.0, 2.5, math.nan, math.inf, "1", None])
def test_a_cost_that_is_no_whole_number_is_refused(kind: Kind, cost: Any, clock: VirtualClock) -> None:
    governor = Governor({"mail": limit_of(kind)}, clock=clock)
    governor.take("mail")
    check = governor.bind("mail")
    for call in (governor.take, governor.peek, governor.refund):
        with pytest.raises(BadTake):
            call("mail", cost=cost)
    # one that equals 1 is taken as 1 on the short way; anything else is refused there too
    if cost != 1:
        with pytest.raises(BadTake):
            check("", cost)
        assert drained(governor) == 9


@KINDS
def test_more_than_the_limit_ever_allows_is_told_at_once(kind: Kind, clock: VirtualClock) -> None:
    governor = Governor({"mail": limit_of(kind)}, clock=clock)
    for _ in range(2):
        decision = governor.bind("mail")("", 11)
        assert (decision.why, decision.retry_after, decision.limit) == ("never", None, "per-10s")
        assert isinstance(decision.problem(), NeverPossible)
        clock.pass_(1000)
    assert drained(governor) == 10, "nothing was charged"


def test_more_than_the_burst_is_never_possible_either(clock: VirtualClock) -> None:
    governor = Governor({"mail": Limit(capacity=10, window=10, kind="gcra", burst=4)}, clock=clock)
    assert governor.take("mail", cost=5).why == "never"


@KINDS
def test_a_limit_s_own_cost_multiplies(kind: Kind, clock: VirtualClock) -> None:
    governor = Governor({"mail": limit_of(kind, cost=3)}, clock=clock)
    check = governor.bind("mail")
    assert [check().allowed for _ in range(4)] == [True, True, True, False]
    assert governor.peek("mail").policies[0][1] == 1


@pytest.mark.parametrize("unknown", ["deny", "allow"])
def test_an_unknown_resource(unknown: Literal["deny", "allow"], clock: VirtualClock) -> None:
    governor = Governor({"*": Limit(capacity=5, window=10)}, unknown=unknown, clock=clock)
    check = governor.bind("Mail ")
    decision = check("a")
    assert decision.allowed == (unknown == "allow")
    if unknown == "deny":
        assert isinstance(decision.problem(), UnknownResource)
        assert governor.take("\uff4dail").why == "unknown"
    else:
        assert sum(check("a").allowed for _ in range(10)) == 4, "the limits for everything still hold"
    for number in range(100):
        governor.take(f"made-up:{number}", "z")
    assert len(governor._plans) == 1, "made-up names are not kept"  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(BadLimit):
        Governor(unknown="maybe")  # type: ignore[arg-type]


@KINDS
@pytest.mark.parametrize("subject", ["x" * 513, "x" * 10_000, None, 7, b"a", ["a"], math.nan])
def test_an_unusable_subject_is_refused(kind: Kind, subject: Any, clock: VirtualClock) -> None:
    governor = Governor({"mail": limit_of(kind)}, clock=clock)
    for call in (governor.bind("mail"), lambda subject: governor.take("mail", subject)):  # type: ignore[misc]
        with pytest.raises(BadTake):
            call(subject)
    assert governor.buckets() == 0


def test_a_refusal_is_a_problem_with_its_policies(clock: VirtualClock) -> None:
    governor = Governor({"mail": "1/minute"}, clock=clock)
    governor.take("mail")
    problem = governor.take("mail").problem()
    assert isinstance(problem, LimitExceeded)
    assert (problem.status, problem.retry_after, problem.policies) == (429, 60.0, (("per-minute", 0, 60.0),))
