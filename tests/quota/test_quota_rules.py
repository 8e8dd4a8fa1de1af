"""When an arena is measured exactly: never too late, and seldom for nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from valhalla.sandbox.quota.contracts import Excess, Measured
from valhalla.sandbox.quota.rules import PAUSE, RENEWAL, must_measure

LIMIT = 1000


def test_a_small_arena_is_never_measured() -> None:
    """Nobody holds more than all do."""
    assert not must_measure(None, size=LIMIT, limit=LIMIT, now=0)
    assert must_measure(None, size=LIMIT + 1, limit=LIMIT, now=0)


def test_without_a_limit_nothing_is_measured() -> None:
    assert not must_measure(None, size=10**12, limit=0, now=0)


def test_an_arena_that_does_not_grow_is_not_measured_again() -> None:
    assert not must_measure(Measured(5000, 900, 0), size=5000, limit=LIMIT, now=10 * RENEWAL)


def test_one_that_changed_is_measured_now_and_then() -> None:
    """What others have freed may hide what one has taken."""
    assert not must_measure(Measured(5000, 10, 0), size=4999, limit=LIMIT, now=RENEWAL - 1)
    assert must_measure(Measured(5000, 10, 0), size=4999, limit=LIMIT, now=RENEWAL)


@given(size=st.integers(0, 10_000), largest=st.integers(0, LIMIT), grown=st.integers(0, 5000))
def test_growth_that_could_be_too_much_is_seen(size: int, largest: int, grown: int) -> None:
    """If the largest had taken all of the growth and were over its limit, the arena is measured after the pause."""
    last = Measured(size, min(largest, size), 0)
    over = last.largest + grown > LIMIT and size + grown > LIMIT
    assert must_measure(last, size=size + grown, limit=LIMIT, now=PAUSE) == over or grown > LIMIT // 2


def test_a_jump_is_seen_at_once() -> None:
    assert must_measure(Measured(5000, 0, 0), size=5501, limit=LIMIT, now=1)
    assert not must_measure(Measured(5000, 900, 0), size=5400, limit=LIMIT, now=1)


def test_what_an_owner_reads() -> None:
    assert str(Excess("x", "keys in Valkey", 7, 5)) == "quota_exceeded: 7 keys in Valkey, 5 are allowed"
