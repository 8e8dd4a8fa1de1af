"""The arithmetic that shared stores repeat, against the buckets in memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.guard.governor.virtual import VirtualClock

from valhalla.guard.governor import Governor, Limit, rules

_steps = st.lists(st.tuples(st.integers(0, 3_000_000), st.sampled_from([1, 1, 2, 5])), min_size=1, max_size=100)
# intervals of a whole number of microseconds that doubles hit too
_shapes = st.sampled_from([(8, 4, 1.0), (16, 8, 4.0), (5, 1, 8.0), (3, 3, 2.0), (1, 1, 0.5)])


@settings(max_examples=100, deadline=None)
@given(_shapes, _steps)
def test_gcra_in_whole_microseconds_answers_like_the_governor(
    shape: tuple[int, int, float], steps: list[tuple[int, int]]
) -> None:
    capacity, burst, window = shape
    limit = Limit(capacity=capacity, window=window, kind="gcra", burst=burst)
    interval = rules.interval_of(limit)
    clock = VirtualClock(0.0)
    governor = Governor({"mail": limit}, clock=clock)
    now, tat = 0, 0
    for gap, cost in steps:
        # multiples of 1/64 s are whole in both
        now += gap // 15_625 * 15_625
        clock.now = now / 1e6
        if cost > burst:
            continue
        tat, allowed, wait = rules.gcra(tat, now, cost, interval, burst)
        decision = governor.take("mail", cost=cost)
        assert decision.allowed == allowed
        assert decision.retry_after is not None
        assert abs(decision.retry_after - wait / 1e6) < 1e-6
        ((_, remaining, reset),) = decision.policies
        left, until = rules.state(tat, now, interval, burst)
        assert (remaining, round(reset * 1e6)) == (left, until)


@given(st.integers(0, 10**15), st.integers(0, 10**15), st.integers(1, 50), st.integers(1, 10**9), st.integers(50, 1000))
def test_gcra_by_its_definition(tat: int, now: int, cost: int, interval: int, burst: int) -> None:
    new, allowed, wait = rules.gcra(tat, now, cost, interval, burst)
    if allowed:
        assert new == max(tat, now) + cost * interval <= now + burst * interval
        assert wait == 0
        assert max(rules.refund(new, now, cost, interval, 0), now) == max(tat, now)
    else:
        assert new == tat
        assert wait > 0
        # after exactly this long it is admitted, one tick before it is not
        assert rules.gcra(tat, now + wait, cost, interval, burst)[1]
        assert not rules.gcra(tat, now + wait - 1, cost, interval, burst)[1]


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 10**6), st.integers(1, 10**6))
def test_rescaling_keeps_the_units_in_use(tat: int, now: int, before: int, after: int) -> None:
    new = rules.rescale(tat, now, before, after)
    if tat <= now:
        assert new == tat
    else:
        # never less in use than before, and less than one tick more
        assert 0 <= (new - now) * before - (tat - now) * after < before


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**6))
def test_the_interval_is_rounded_up(capacity: int, burst: int, seconds: int) -> None:
    if burst > capacity or capacity / seconds > 1e6:
        return
    interval = rules.interval_of(Limit(capacity=capacity, window=seconds, kind="gcra", burst=burst))
    assert interval * max(1, capacity - burst) >= seconds * 1_000_000 > (interval - 1) * max(1, capacity - burst)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 8), _steps)
def test_exact_as_a_pure_function_answers_like_the_governor(capacity: int, steps: list[tuple[int, int]]) -> None:
    clock = VirtualClock(0.0)
    governor = Governor({"mail": Limit(capacity=capacity, window=2)}, clock=clock)
    times: list[int] = []
    now = 0
    for gap, cost in steps:
        now += gap // 15_625 * 15_625
        clock.now = now / 1e6
        decision = governor.take("mail", cost=cost)
        if cost > capacity:
            assert decision.why == "never"
            continue
        allowed, wait = rules.exact(times, now, cost, capacity, 2_000_000)
        assert decision.allowed == allowed
        assert decision.retry_after is not None
        assert abs(decision.retry_after - wait / 1e6) < 1e-6
        if allowed:
            times += [now] * cost
