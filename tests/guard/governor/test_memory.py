"""No live bucket is evicted, no dead one stays, and a bucket weighs what was promised."""

from __future__ import annotations

import tracemalloc
from typing import Literal

import pytest
from tests.guard.governor.virtual import VirtualClock

from valhalla.guard.governor import Governor, Limit

Kind = Literal["exact", "gcra"]
KINDS = pytest.mark.parametrize("kind", [pytest.param("exact", marks=pytest.mark.slow), "gcra"])
# what a table keeps before it sweeps because of its size, and not by the clock
SPARE = {"exact": 64 * 512, "gcra": 64 * 2048}


def governed(kind: Kind, clock: VirtualClock, window: float = 10.0) -> Governor:
    """Make a governor with a limit of 2."""
    limit = Limit(capacity=2, window=window, kind=kind, burst=2 if kind == "gcra" else None)
    return Governor({"mail": limit}, clock=clock)


@KINDS
def test_a_live_bucket_is_never_evicted(kind: Kind, clock: VirtualClock) -> None:
    """One who has used up everything stays refused, however many others come."""
    governor = governed(kind, clock)
    check = governor.bind("mail")
    assert [check("victim").allowed for _ in range(3)] == [True, True, False]
    for number in range(100_000):
        check(f"other:{number}")
        if number % 10_000 == 0:
            clock.pass_(0.05)
            assert not check("victim").allowed


@pytest.mark.slow
@KINDS
def test_memory_follows_the_live_buckets_while_others_come(kind: Kind, clock: VirtualClock) -> None:
    """400,000 subjects pass by, about 10,000 of them live at any time."""
    governor = governed(kind, clock, window=5.0)
    check = governor.bind("mail")
    most = 0
    for number in range(400_000):
        clock.now += 0.0005
        check(f"user:{number}")
        if number % 500 == 0:
            most = max(most, governor.buckets())
    assert most < SPARE[kind] + 4 * 10_000


@KINDS
def test_calls_of_one_subject_sweep_what_the_others_left(kind: Kind, clock: VirtualClock) -> None:
    governor = governed(kind, clock)
    check = governor.bind("mail")
    for number in range(50_000):
        check(f"user:{number}")
    assert governor.buckets() >= 50_000
    # three lifetimes later, by the calls of one who is left (a full bucket lives twice as long as a window here)
    for _ in range(40_000):
        clock.now += 0.0025
        check("last")
    assert governor.buckets() < 100


@KINDS
def test_no_call_sweeps_many(kind: Kind, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one call does is bounded: it looks at some buckets, however many have expired."""
    governor = governed(kind, clock)
    check = governor.bind("mail")
    for number in range(50_000):
        check(f"user:{number}")
    clock.pass_(1000)
    (table,) = governor._own["mail"]  # pyright: ignore[reportPrivateUsage]
    looked: list[int] = [0]
    moved = table.moved

    def counted(bucket: object, now: float) -> object:
        looked[0] += 1
        return moved(bucket, now)  # type: ignore[arg-type]

    monkeypatch.setattr(table, "moved", counted)
    worst = 0
    for number in range(30_000):
        clock.now += 0.001
        looked[0] = 0
        check(f"late:{number % 100}")
        worst = max(worst, looked[0])
    assert 0 < worst <= 13


def test_a_key_weighs_at_most_64_bytes() -> None:
    # a dict of this many is as full as one of a hundred thousand
    keys = [f"user:{number}" for number in range(12_500)]
    check = Governor({"mail": Limit(capacity=100, window=3600, kind="gcra")}).bind("mail")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for key in keys:
            check(key)
        weight = (tracemalloc.get_traced_memory()[0] - before) / len(keys)
    finally:
        tracemalloc.stop()
    assert weight <= 64


def test_an_exact_bucket_weighs_eight_bytes_a_unit() -> None:
    check = Governor({"mail": Limit(capacity=1000, window=3600)}).bind("mail")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for subject in map(str, range(100)):
            for _ in range(1000):
                assert check(subject).allowed
        weight = (tracemalloc.get_traced_memory()[0] - before) / 100
    finally:
        tracemalloc.stop()
    assert weight < 8 * 1000 * 1.05 + 700
