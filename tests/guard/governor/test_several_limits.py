"""Several limits of one call, limits of every resource, and limits that only watch."""

from __future__ import annotations

import pytest
from tests.guard.governor.taking import KINDS, Kind, drained, limit_of
from tests.guard.governor.virtual import VirtualClock

from valhalla.guard.governor import Governor, Limit, UnknownLimit, headers


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
