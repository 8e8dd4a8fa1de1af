"""How limits are written, and what nobody can mean."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.guard.governor import BadLimit, Limit, as_limits


@pytest.mark.parametrize(
    ("text", "capacity", "window"),
    [
        ("100/hour", 100, 3600),
        ("1000/60 s", 1000, 60),
        ("10 per minute", 10, 60),
        ("100/3600s", 100, 3600),
        (" 5 / s ", 5, 1),
        ("1_000 PER 2 Days", 1000, 172_800),
        ("7 per 0.5 h", 7, 1800),
        ("3/100ms", 3, 0.1),
        ("1/week", 1, 604_800),
    ],
)
def test_a_limit_is_read(text: str, capacity: int, window: float) -> None:
    limit = Limit.parse(text)
    assert (limit.capacity, limit.window) == (capacity, pytest.approx(window))


BAD_TEXTS = [
    "", " ", "100", "hour", "0/hour", "-1/hour", "1.5/hour", "100/0 s", "100/-1 s", "nan/hour", "inf/hour", "100/nan s",
    "100/hour/day", "100/fortnight", "100 hour", "1e3/hour", "100/1e9 s", "100/hour\x00", "9" * 12 + "/s",
    "100/99999999 d", "2000001/s", "x" * 10_000, "100" + " " * 10_000 + "/hour", "100/\uff48our", "2000000/hour",
    "\u0661\u0660\u0660/hour",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_bad_text_is_refused_with_a_way_out(text: str) -> None:
    with pytest.raises(BadLimit) as refusal:
        Limit.parse(text)
    assert refusal.value.status == 422
    assert refusal.value.advice
    # what was sent is not echoed: it may be long, and it may steer a terminal
    assert len(refusal.value.detail) < 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"capacity": 0},
        {"capacity": -1},
        {"capacity": True},
        {"capacity": 1.5},
        {"capacity": math.nan},
        {"capacity": 10**12},
        {"window": 0},
        {"window": -1},
        {"window": math.nan},
        {"window": math.inf},
        {"window": True},
        {"window": "60"},
        {"window": 1e12},
        {"window": 1e-9},
        {"kind": "fixed"},
        {"scope": "world"},
        {"burst": 5},
        {"kind": "gcra", "burst": 0},
        {"kind": "gcra", "burst": 11},
        {"kind": "gcra", "burst": 2.5},
        {"cost": 0},
        {"cost": 11},
        {"cost": -1},
        {"name": 'a"b'},
        {"name": "a\r\nb"},
        {"name": "x" * 64},
    ],
)
def test_bad_numbers_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadLimit):
        Limit(**{"capacity": 10, "window": 60, **wrong})


def test_an_exact_limit_has_a_size_that_fits_in_memory() -> None:
    Limit(capacity=1_000_000, window=60)
    with pytest.raises(BadLimit) as refusal:
        Limit(capacity=1_000_001, window=60)
    assert "gcra" in refusal.value.advice


def test_names_come_from_the_window_and_are_unique() -> None:
    assert [limit.name for limit in as_limits(["10/second", "100/hour", "7/90s"])] == [
        "per-second",
        "per-hour",
        "per-90s",
    ]
    with pytest.raises(BadLimit):
        as_limits(["10/hour", "20/hour"])


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.floats(0.001, 1e8))
def test_burst_and_refill_stay_within_the_capacity(capacity: int, burst: int, window: float) -> None:
    """The promise of GCRA as numbers; with the whole capacity as burst, one unit per window comes back."""
    if burst > capacity or capacity / window > 1e6:
        return
    limit = Limit(capacity=capacity, window=window, kind="gcra", burst=burst)
    most = limit.most + limit.rate * limit.window
    assert most <= capacity * (1 + 1e-12) or (burst == capacity and most == pytest.approx(capacity + 1))
