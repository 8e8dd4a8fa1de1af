"""The governor's calls, one promise each."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest
from tests.guard.governor.virtual import VirtualClock

from valhalla.guard.errors import LimitExceeded
from valhalla.guard.governor import (
    BadLimit,
    BadTake,
    Governor,
    Limit,
    NeverPossible,
    UnknownLimit,
    UnknownResource,
    headers,
)

Kind = Literal["exact", "gcra"]
KINDS = pytest.mark.parametrize("kind", ["exact", "gcra"])


def limit_of(kind: Kind, capacity: int = 10, **more: Any) -> Limit:
    """Make a limit that hands out ``capacity`` at once, in ten seconds."""
    burst = capacity if kind == "gcra" else None
    return Limit(**{"capacity": capacity, "window": 10.0, "kind": kind, "burst": burst, **more})


def drained(governor: Governor, resource: str = "mail", subject: str = "") -> int:
    """Take until refused; return how many were given."""
    return next(count for count in range(10_000) if not governor.take(resource, subject).allowed)


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


@KINDS
def test_all_limits_are_taken_or_none(kind: Kind, clock: VirtualClock) -> None:
    governor = Governor(
        {"mail": [limit_of(kind, 10, name="wide"), limit_of(kind, 3, name="narrow"), limit_of(kind, 5, name="third")]},
        clock=clock,
    )
    assert drained(governor, subject="a") == 3
    refused = governor.take("mail", "a")
    assert refused.limit == "narrow"
    assert {name: left for name, left, _ in refused.policies} == {"wide": 7, "narrow": 0, "third": 2}
    assert governor.take("mail", "a", names=["wide"]).allowed
    assert {name: left for name, left, _ in governor.peek("mail", "a").policies} == {"wide": 6, "narrow": 0, "third": 2}
    with pytest.raises(UnknownLimit) as problem:
        governor.take("mail", "a", names=["wide", "x"])
    assert problem.value.extra["known"] == ["wide", "narrow", "third"]


def test_of_several_refusals_the_longest_counts(clock: VirtualClock) -> None:
    governor = Governor({"mail": ["1/second", "1/hour", "1/minute"]}, clock=clock)
    governor.take("mail")
    refused = governor.take("mail")
    assert (refused.limit, refused.retry_after) == ("per-hour", pytest.approx(3600))


@KINDS
def test_limits_of_the_star_count_every_resource_together(kind: Kind, clock: VirtualClock) -> None:
    governor = Governor(
        {"mail": limit_of(kind, 6), "sms": limit_of(kind, 9), "*": limit_of(kind, 8, name="all", scope="all")},
        clock=clock,
    )
    assert [drained(governor, "mail", "a"), drained(governor, "sms", "b")] == [6, 2]
    assert governor.take("sms", "c").limit == "all"
    governor.refund("mail", "a")
    assert drained(governor, "sms", "c") == 1


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
def test_refund_gives_back_at_once(kind: Kind, clock: VirtualClock) -> None:
    governor = Governor({"mail": limit_of(kind)}, clock=clock)
    governor.take("mail", "a", 2)
    before = governor.peek("mail", "a").policies
    governor.take("mail", "a", 5)
    governor.refund("mail", "a", 5)
    assert governor.peek("mail", "a").policies == before
    governor.refund("mail", "a", 100)
    governor.refund("mail", "nobody", 1)
    assert drained(governor, subject="a") == 10, "never more than the limit"
    assert drained(governor, subject="nobody") == 10


@KINDS
def test_an_old_refund_gives_back_what_still_counts(kind: Kind, clock: VirtualClock) -> None:
    governor = Governor({"mail": limit_of(kind)}, clock=clock)
    old = governor.take("mail", cost=5)
    clock.pass_(200)
    governor.take("mail", cost=10)
    governor.refund("mail", cost=5, at=old.at)
    assert not governor.take("mail").allowed


def test_a_refund_from_before_a_change_of_rate_gives_back_nothing(clock: VirtualClock) -> None:
    """How much of it has come back by itself is not known any more."""
    governor = Governor({"mail": Limit(capacity=10, window=10, kind="gcra", burst=5)}, clock=clock)
    old = governor.take("mail", cost=5)
    clock.pass_(9)
    governor.take("mail", cost=4)
    governor.set_limit("mail", Limit(capacity=10, window=1000, kind="gcra", burst=5))
    before = governor.peek("mail").policies
    governor.refund("mail", cost=5, at=old.at)
    assert governor.peek("mail").policies == before


@KINDS
def test_a_shadow_counts_what_it_would_refuse(kind: Kind, clock: VirtualClock) -> None:
    governor = Governor({"mail": [limit_of(kind, 2, name="trial", shadow=True), limit_of(kind, 5)]}, clock=clock)
    decisions = [governor.take("mail") for _ in range(7)]
    assert [decision.allowed for decision in decisions] == [True] * 5 + [False] * 2
    assert [decision.shadowed for decision in decisions[:4]] == [(), (), ("trial",), ("trial",)]
    assert governor.shadowed() == {("mail", "trial"): 3}
    assert [name for name, _, _ in decisions[0].policies] == ["per-10s"], "shadows are not told to clients"


@KINDS
def test_a_lone_shadow_refuses_nothing(kind: Kind, clock: VirtualClock) -> None:
    governor = Governor({"mail": limit_of(kind, 2, shadow=True)}, clock=clock)
    check = governor.bind("mail")
    assert all(check("a").allowed for _ in range(9))
    assert check("a", 50).allowed
    assert governor.shadowed() == {("mail", "per-10s"): 8}


@KINDS
def test_a_changed_limit_keeps_its_usage(kind: Kind, clock: VirtualClock) -> None:
    governor = Governor({"mail": limit_of(kind, 10)}, clock=clock)
    check = governor.bind("mail")
    for _ in range(6):
        assert check("a").allowed
    governor.set_limit("mail", limit_of(kind, 20))
    assert governor.peek("mail", "a").policies[0][1] == 14
    governor.set_limit("mail", limit_of(kind, 7, window=20.0))
    assert governor.peek("mail", "a").policies[0][1] == 1
    assert [check("a").allowed, check("a").allowed] == [True, False]
    governor.set_limit("mail", limit_of(kind, 3))
    assert not check("a").allowed
    assert governor.peek("mail", "a").policies[0][1] == 0
    assert drained(governor, subject="b") == 3
    governor.set_limit("mail", limit_of(kind, 10))
    assert governor.peek("mail", "a").policies[0][1] == 3, "lowered and raised again, nothing is forgotten"
    assert [sum(check(name).allowed for _ in range(20)) for name in ("a", "b")] == [3, 7]


def test_what_a_change_cannot_keep_is_refused(clock: VirtualClock) -> None:
    governor = Governor({"mail": "10/minute"}, clock=clock)
    with pytest.raises(BadLimit):
        governor.set_limit("mail", Limit(capacity=10, window=60, kind="gcra"))
    with pytest.raises(BadLimit):
        governor.set_limit("mail", ["5/minute", Limit(capacity=10, window=60, scope="all")])
    assert drained(governor) == 10, "the limit is as it was"


def test_a_bound_check_follows_every_change(clock: VirtualClock) -> None:
    governor = Governor(clock=clock)
    check = governor.bind("mail")
    assert check("a").why == "unknown"
    governor.set_limit("mail", "5/minute")
    bound = governor.bind("mail")
    assert [check("a").allowed, bound("a").allowed] == [True, True]
    governor.set_limit("mail", ["5/minute", "3/hour"])
    assert [bound("a").allowed for _ in range(4)] == [True, True, True, False]
    governor.set_limit("mail", "8/minute")
    assert [bound("a").allowed for _ in range(4)] == [True, True, True, False]
    governor.set_limit("*", Limit(capacity=1, window=60, scope="all", name="all"))
    assert [bound("b").allowed, bound("c").allowed] == [True, False]
    governor.set_limit("*", ())
    assert bound("c").allowed
    governor.set_limit("mail", ())
    assert all(bound("a").allowed for _ in range(50)), "known, and without a limit"
    assert governor.limits_of("mail") == ()


@KINDS
def test_a_clock_that_jumps_back_neither_admits_more_nor_locks_out(kind: Kind, clock: VirtualClock) -> None:
    governor = Governor(
        {"mail": Limit(capacity=10, window=10, kind=kind, burst=5 if kind == "gcra" else None)}, clock=clock
    )
    first = drained(governor)
    for _ in range(5):
        clock.pass_(-3600)
        assert drained(governor) == 0
    clock.pass_(10)
    assert drained(governor) == first, "the time since the last jump counted"


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


def test_header_fields(clock: VirtualClock) -> None:
    limits = [
        Limit(capacity=2, window=60, name="burst"),
        Limit(capacity=1000, window=86_400, name="daily"),
        Limit(capacity=1, window=1, name="trial", shadow=True),
    ]
    governor = Governor({"mail": limits}, clock=clock)
    first = governor.take("mail", "ada")
    assert headers(limits, first, "ada") == {
        "RateLimit-Policy": '"burst";q=2;w=60;pk=:YWRh:, "daily";q=1000;w=86400;pk=:YWRh:',
        "RateLimit": '"burst";r=1;t=60;pk=:YWRh:, "daily";r=999;t=86400;pk=:YWRh:',
    }
    clock.pass_(0.5)
    governor.take("mail", "ada")
    clock.pass_(30)
    assert headers(limits, governor.take("mail", "ada")) == {
        "RateLimit-Policy": '"burst";q=2;w=60, "daily";q=1000;w=86400',
        # the reset of the limit that refused is the instant of Retry-After
        "RateLimit": '"burst";r=0;t=30, "daily";r=998;t=86370',
        "Retry-After": "30",
    }
    assert headers([], governor.take("nothing")) == {}
