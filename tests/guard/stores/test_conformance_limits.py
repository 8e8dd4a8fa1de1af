"""What every store of the guard does with limits: the contract in ``stores/__init__.py``."""

from __future__ import annotations

from typing import Any

import pytest
from tests.guard.stores.asking import limit, take
from tests.guard.stores.places import Verbs

from valhalla.guard.contracts import Began


def left(began: Any) -> dict[str, int]:
    return {name: units for name, units, _ in began.policies}


@pytest.mark.parametrize("kind", ["exact", "gcra"])
def test_a_limit_refuses_and_leaves_no_claim(verbs: Verbs, kind: Any) -> None:
    takes = take(limit("4/100s", kind=kind))
    kinds = [verbs.begin(key=f"k{n}", takes=takes).kind for n in range(5)]
    most = 4 if kind == "exact" else 2
    assert kinds == [Began.EXECUTE] * most + [Began.LIMITED] * (5 - most)
    refused = verbs.begin(key="k9", takes=takes)
    assert (refused.limit, refused.record) == ("per-100s", None)
    assert refused.retry_after is not None
    assert 0 < refused.retry_after <= (100 if kind == "exact" else 50)
    ((name, remaining, reset),) = refused.policies
    assert (name, remaining) == ("per-100s", 0)
    assert reset == pytest.approx(100, abs=5)
    assert verbs.scan("key", name="payment", key="k9").records == ()
    verbs.place.age(refused.retry_after)
    assert verbs.begin(key="k9", takes=takes).kind is Began.EXECUTE


def test_limits_are_taken_all_or_none(verbs: Verbs) -> None:
    wide, narrow = limit("10/hour", name="wide"), limit("1/hour", name="narrow", kind="exact")
    assert verbs.begin(key="k0", takes=take(wide, narrow)).kind is Began.EXECUTE
    for n in range(1, 4):
        refused = verbs.begin(key=f"k{n}", takes=take(wide, narrow))
        assert (refused.kind, refused.limit) == (Began.LIMITED, "narrow")
    told = verbs.begin(key="k9", takes=take(wide, narrow)).policies
    assert {name: left for name, left, _ in told} == {"wide": 9, "narrow": 0}


def test_costs_subjects_shared_and_shadow_limits(verbs: Verbs) -> None:
    limits = (
        limit("10/hour", name="each"),
        limit("12/hour", name="together", scope="all"),
        limit("1/hour", name="shadow", shadow=True),
    )
    assert verbs.begin(key="a", takes=take(*limits, subject="u1", cost=10), report=True).policies[0][:2] == ("each", 0)
    assert verbs.begin(key="b", takes=take(*limits, subject="u1")).limit == "each"
    assert verbs.begin(key="c", takes=take(*limits, subject="u2", cost=3)).limit == "together"
    assert verbs.begin(key="d", takes=take(*limits, subject="u2", cost=2)).kind is Began.EXECUTE
    never = verbs.begin(key="e", takes=take(*limits, subject="u3", cost=11))
    assert (never.kind, never.retry_after, never.limit) == (Began.LIMITED, None, "each")


def test_only_the_named_limits_are_charged(verbs: Verbs) -> None:
    limits = (limit("1/hour", name="calls"), limit("100/day", name="tokens"))
    assert verbs.begin(key="a", takes=take(*limits, names=("tokens",))).kind is Began.EXECUTE
    assert verbs.begin(key="b", takes=take(*limits)).kind is Began.EXECUTE
    assert verbs.begin(key="c", takes=take(*limits)).limit == "calls"


def test_what_nobody_limited_is_refused(verbs: Verbs) -> None:
    refused = verbs.begin(takes=take(resource="unheard-of"))
    assert (refused.kind, refused.retry_after, refused.limit) == (Began.LIMITED, None, None)


def test_what_is_known_to_have_no_limit_goes_through(verbs: Verbs) -> None:
    for n in range(3):
        assert verbs.begin(key=f"k{n}", takes=take(resource="free", free=True), report=True).policies == ()


def test_limits_of_all_resources_count_them_together(verbs: Verbs) -> None:
    every = (limit("3/hour", name="all"),)
    mine = limit("2/hour", name="mine")
    mail, sms = take(mine, resource="mail", every=every), take(resource="sms", every=every, free=True)
    assert left(verbs.begin(key="a", takes=mail, report=True)) == {"mine": 1, "all": 2}
    assert left(verbs.begin(key="b", takes=sms, report=True)) == {"all": 1}
    assert verbs.begin(key="c", takes=mail).kind is Began.EXECUTE
    assert verbs.begin(key="d", takes=sms).limit == "all"
    # another subject has units of its own, here and there
    both = take(mine, resource="mail", every=every, subject="u2")
    assert left(verbs.begin(key="e", takes=both, report=True)) == {"mine": 1, "all": 2}
    only = take(mine, resource="mail", every=every, subject="u2", names=("all",))
    assert left(verbs.begin(key="f", takes=only, report=True)) == {"all": 1}


def test_a_replay_is_not_charged(verbs: Verbs) -> None:
    takes = take(limit("1/hour"))
    row = verbs.begin(takes=takes).record
    verbs.cas(row.id, "executing", "succeeded", patch={"value": b"1"})
    assert verbs.begin(takes=takes).kind is Began.REPLAY
    assert verbs.begin(key="k2", takes=takes).kind is Began.LIMITED


@pytest.mark.parametrize("kind", ["exact", "gcra"])
def test_a_changed_limit_keeps_its_usage(verbs: Verbs, kind: Any) -> None:
    before = limit("8/hour", name="n", kind=kind)
    for n in range(4):
        assert verbs.begin(key=f"k{n}", takes=take(before)).kind is Began.EXECUTE
    lower = limit("4/hour", name="n", kind=kind, burst=4 if kind == "gcra" else None)
    assert verbs.begin(key="k5", takes=take(lower)).kind is Began.LIMITED
    higher = limit("16/hour", name="n", kind=kind)
    kinds = [verbs.begin(key=f"m{n}", takes=take(higher)).kind for n in range(13)]
    assert kinds.count(Began.EXECUTE) == (12 if kind == "exact" else 4)


@pytest.mark.parametrize("kind", ["exact", "gcra"])
def test_callers_at_once_share_a_limit(verbs: Verbs, kind: Any) -> None:
    takes = take(limit("10/hour", kind=kind))
    verbs.begin(key="first", takes=takes)
    answers = verbs.together([verbs.request(key=f"k{n}", takes=takes) for n in range(20)])
    assert [one.kind for one in answers].count(Began.EXECUTE) == (9 if kind == "exact" else 4)
