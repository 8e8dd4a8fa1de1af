"""Requests per second and their times out of samples: pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from valhalla.server.traffic import TOTAL, WITHIN, Point, points

BOUNDS = (0.01, 0.1, 1.0)
STEP = 20.0
BEGIN = 1_800_000_000.0


def sample(source: str, at: float, total: float, *within: float) -> dict[str, Any]:
    counts = {WITHIN.format(bound): count for bound, count in zip(BOUNDS, within or (total,) * 3, strict=True)}
    instant = datetime.fromtimestamp(BEGIN + at, UTC).isoformat()
    return {"source": source, "at": instant, "numbers": {TOTAL: total, **counts}}


def steady(source: str, rate: float, *, first: float, every: float, until: float) -> list[dict[str, Any]]:
    count = int((until - first) / every) + 1
    return [sample(source, first + every * n, rate * every * n) for n in range(count)]


def of(items: list[dict[str, Any]]) -> list[Point]:
    return points(items, BOUNDS, step=STEP)


@given(st.floats(0.1, 19.9), st.floats(0.1, 19.9), st.floats(9, 19))
def test_steady_processes_make_a_steady_line(one: float, two: float, every: float) -> None:
    """Whenever each of them samples: their sum neither jumps nor drops at the end."""
    items = [
        *steady("a", 3.0, first=one, every=10, until=400),
        *steady("b", 5.0, first=two, every=every, until=400),
    ]
    rates = [point.rate for point in of(items)[1:]]
    assert len(rates) > 15
    assert all(rate is not None and abs(rate - 8.0) < 1e-2 for rate in rates), rates


def test_a_restart_is_a_gap() -> None:
    before = [sample("a", at, 100 + at) for at in range(0, 100, 20)]
    after = [sample("a", at, at - 100) for at in range(100, 200, 20)]
    rates = [point.rate for point in of(before + after)]
    assert rates == [1.0] * 4 + [None] + [1.0] * 4


def test_who_was_away_counts_nothing_meanwhile() -> None:
    items = [sample("a", at, at) for at in (0, 20, 40, 200, 220, 240)]
    rates = [point.rate for point in of(items)]
    assert rates == [1.0, 1.0, *[None] * 8, 1.0, 1.0]


def test_who_fell_silent_holds_nobody_up() -> None:
    items = [*steady("a", 1.0, first=0, every=20, until=400), *steady("b", 1.0, first=0, every=20, until=200)]
    rates = [point.rate for point in of(items)]
    assert rates == [2.0] * 10 + [1.0] * 10


def test_times_are_those_of_all_processes_together() -> None:
    """Ninety quick requests of one and ten slow ones of the other: no mean of two quantiles."""
    items = [
        sample("a", 0, 0), sample("a", 20, 90, 90, 90, 90),
        sample("b", 0, 0), sample("b", 20, 10, 0, 0, 10),
    ]  # fmt: skip
    [point] = of(items)
    assert point.rate == 5.0
    assert point.p50 == round(0.01 * 50 / 90, 6)
    assert point.p95 == round(0.1 + 0.9 * 5 / 10, 6)


def test_without_requests_there_is_no_time() -> None:
    [point] = of([sample("a", 0, 7), sample("a", 20, 7)])
    assert (point.rate, point.p50, point.p95) == (0.0, None, None)
    slow = of([sample("a", 0, 0), sample("a", 20, 4, 0, 0, 0)])
    assert (slow[0].p50, slow[0].p95) == (1.0, 1.0)


def test_samples_from_before_this_was_counted_are_left_out() -> None:
    assert of([{"source": "a", "at": "2027-01-15T08:00:00Z", "numbers": {"ready": 1.0}}]) == []
    assert of([]) == []
