"""The filler's pace: usual, faster as the pool empties, fastest while callers wait, none while it is not needed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from valhalla.sandbox.pool.pace import BURST, LATE, Demand, pace

RATE, RUSH = 40.0, 120.0


def at(demand: Demand) -> float:
    return pace(demand, rate=RATE, rush=RUSH)


def test_a_full_pool_rests() -> None:
    assert at(Demand(8, 8)) == 0
    assert at(Demand(8, 9, missed=5)) == 0


def test_a_pool_that_is_half_full_is_filled_at_the_usual_pace() -> None:
    assert at(Demand(8, 7)) == at(Demand(8, 4)) == RATE


def test_callers_that_found_nothing_are_hurried_for() -> None:
    assert at(Demand(8, 0)) == RUSH
    assert at(Demand(100, 60, missed=1)) == RUSH


def test_a_burst_and_a_busy_process_go_first_while_enough_is_left() -> None:
    assert at(Demand(100, 60, claimed=BURST)) == 0
    assert at(Demand(100, 60, late=2 * LATE)) == 0
    assert at(Demand(100, 40, claimed=BURST, late=2 * LATE)) > RATE


@given(
    target=st.integers(1, 1000), ready=st.integers(0, 1000), missed=st.integers(0, 9), claimed=st.integers(0, 99),
    late=st.floats(0, 1), rush=st.floats(1, 1000),
)  # fmt: skip
def test_it_never_stops_when_little_is_left_and_never_exceeds_its_bounds(
    target: int, ready: int, missed: int, claimed: int, late: float, rush: float
) -> None:
    """Whatever happens, a pool that is less than half full is filled."""
    speed = pace(Demand(target, ready, missed, claimed, late), rate=RATE, rush=rush)
    assert 0 <= speed <= max(RATE, rush)
    if ready * 2 < target:
        assert speed >= RATE


@given(target=st.integers(2, 1000), ready=st.integers(1, 999))
def test_the_emptier_the_faster(target: int, ready: int) -> None:
    assert at(Demand(target, ready - 1)) >= at(Demand(target, ready))
