"""The pace of a purge: batches of a bounded size, and a third of the time for others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from valhalla.features.data.retention.rules import FASTEST, LARGEST, SMALLEST, pace

_SECONDS = st.floats(0, 60)


@given(st.integers(SMALLEST, LARGEST), _SECONDS, _SECONDS)
def test_others_have_a_third_of_the_time_and_no_purge_is_too_fast(size: int, took: float, more: float) -> None:
    following, pause = pace(size, took, took + more)
    assert SMALLEST <= following <= LARGEST
    assert pause >= took / 2
    assert took + more + pause >= following / FASTEST


def test_batches_are_as_small_as_the_rate_allows() -> None:
    size = LARGEST
    for _ in range(10):
        size, _ = pace(size, 0.5, 0.5)
    assert size == SMALLEST
    # a server that needs most of the time for what is no row
    for _ in range(10):
        size, _ = pace(size, 0.004, 0.01)
    assert size == LARGEST
    for _ in range(10):
        size, _ = pace(size, 0.001, 0.001)
    assert size == SMALLEST
    # most of the time is left, and it stays as it is
    assert pace(2 * SMALLEST, 0.003, 0.005)[0] == 2 * SMALLEST
