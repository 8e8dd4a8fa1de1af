"""What was taken is given back, limits and clocks change: nobody gets more than promised."""

from __future__ import annotations

import pytest
from tests.guard.governor.taking import KINDS, Kind, drained, limit_of
from tests.guard.governor.virtual import VirtualClock

from valhalla.guard.governor import BadLimit, Governor, Limit


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
