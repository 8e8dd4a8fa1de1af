"""No window of W ever sees more than N, whatever comes when; and what is promised is handed out."""

from __future__ import annotations

from bisect import bisect_right
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.guard.governor.virtual import VirtualClock

from valhalla.guard.governor import Governor, Limit

Admitted = list[tuple[float, int]]

_few = settings(max_examples=60, deadline=None)
_costs = st.sampled_from([1, 1, 1, 2, 3, 7])
# bursts, steady streams, long pauses, and instants that no binary fraction hits
_gaps = st.one_of(
    st.just(0.0), st.sampled_from([0.25, 0.5, 1.0, 4.0, 10.0]), st.floats(0, 3), st.sampled_from([0.1, 0.3, 9.9])
)
_arrivals = st.lists(st.tuples(_gaps, st.sampled_from(["a", "b"]), _costs), max_size=120)


@st.composite
def _limits(draw: st.DrawFn) -> Limit:
    capacity = draw(st.integers(1, 12))
    kind = draw(st.sampled_from(["exact", "gcra"]))
    burst = draw(st.integers(1, capacity)) if kind == "gcra" else None
    window = draw(st.sampled_from([1.0, 3.0, 10.0, 0.7]))
    return Limit(capacity=capacity, window=window, kind=kind, burst=burst)  # type: ignore[arg-type]


def most_in_a_window(admitted: Admitted, window: float) -> int:
    """Count in rational numbers what the fullest half-open window sees. Windows begin at an admission."""
    # doubles are 2^-53 coarse: a window shorter by less than any clock's tick
    length = Fraction(window) * (1 - Fraction(1, 10**12))
    times = [Fraction(at) for at, _ in admitted]
    most = 0
    for begin, at in enumerate(times):
        most = max(most, sum(cost for when, (_, cost) in zip(times, admitted, strict=True) if at <= when < at + length))
        assert begin == 0 or times[begin - 1] <= at
    return most


@_few
@given(_limits(), _arrivals, st.booleans())
def test_no_window_sees_more_than_its_limit(limit: Limit, arrivals: list[tuple[float, str, int]], bound: bool) -> None:
    clock = VirtualClock()
    governor = Governor({"mail": limit}, clock=clock)
    check = governor.bind("mail")
    admitted: dict[str, Admitted] = {"a": [], "b": []}
    for gap, subject, cost in arrivals:
        clock.pass_(gap)
        decision = check(subject, cost) if bound else governor.take("mail", subject, cost)
        if decision.allowed:
            admitted[subject].append((clock.now, cost))
    for some in admitted.values():
        assert most_in_a_window(some, limit.window) <= limit.capacity


@_few
@given(_limits(), _arrivals, st.data())
def test_refunds_make_no_room_that_is_not_there(
    limit: Limit, arrivals: list[tuple[float, str, int]], data: st.DataObject
) -> None:
    clock = VirtualClock()
    governor = Governor({"mail": limit}, clock=clock)
    net: Admitted = []
    for gap, what, cost in arrivals:
        clock.pass_(gap)
        if what == "b" and net:
            at, given_back = net.pop(data.draw(st.integers(0, len(net) - 1)))
            governor.refund("mail", cost=given_back, at=at)
        elif governor.take("mail", cost=cost).allowed:
            net.append((clock.now, cost))
        assert most_in_a_window(net, limit.window) <= limit.capacity


@_few
@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 3000), _costs), max_size=120))
def test_exact_admits_whatever_fits(capacity: int, arrivals: list[tuple[int, int]]) -> None:
    """On instants that doubles hit exactly it answers like a list of everything that was admitted."""
    clock = VirtualClock()
    governor = Governor({"mail": Limit(capacity=capacity, window=4)}, clock=clock)
    admitted: Admitted = []
    for ticks, cost in arrivals:
        clock.pass_(ticks / 1024)
        live = sum(units for at, units in admitted if at > clock.now - 4)
        decision = governor.take("mail", cost=cost)
        assert decision.allowed == (live + cost <= capacity)
        if decision.allowed:
            admitted.append((clock.now, cost))
            live += cost
        ((_, remaining, _),) = decision.policies
        assert remaining == capacity - live


@_few
@given(_limits(), st.lists(st.tuples(_gaps, _costs), max_size=120))
def test_gcra_admits_at_least_its_rate(limit: Limit, arrivals: list[tuple[float, int]]) -> None:
    """A bucket of rational numbers that leaks at the promised rate never admits what this one refuses."""
    limit = Limit(capacity=limit.capacity, window=limit.window, kind="gcra", burst=limit.burst)
    clock = VirtualClock()
    governor = Governor({"mail": limit}, clock=clock)
    rate, level, before = Fraction(limit.rate), Fraction(0), Fraction(clock.now)
    for gap, cost in arrivals:
        clock.pass_(gap)
        now = Fraction(clock.now)
        level, before = max(Fraction(0), level - (now - before) * rate), now
        allowed = governor.take("mail", cost=cost).allowed
        room = limit.most - level - cost
        # within a billionth of the edge either answer is right
        if abs(room) > Fraction(1, 10**9):
            assert allowed == (room >= 0)
        if allowed:
            level += cost


def test_the_last_unit_of_a_burst_is_not_lost_to_rounding() -> None:
    for start in (0.0, 0.1, 0.3, 1 / 3, 12345.678, 1e7 + 0.1):
        for capacity, burst, window in ((7, 3, 0.7), (100, 50, 3600), (1000, 999, 9.9), (3, 3, 0.1)):
            limit = Limit(capacity=capacity, window=window, kind="gcra", burst=burst)
            governor = Governor({"mail": limit}, clock=VirtualClock(start))
            assert [governor.take("mail").allowed for _ in range(burst + 1)] == [True] * burst + [False]


@_few
@given(_limits(), _arrivals)
def test_retry_after_is_exact(limit: Limit, arrivals: list[tuple[float, str, int]]) -> None:
    clock = VirtualClock()
    governor = Governor({"mail": limit}, clock=clock)
    for gap, subject, cost in arrivals:
        clock.pass_(gap)
        refused = governor.take("mail", subject, cost)
        if refused.allowed:
            continue
        if cost > limit.most:
            assert (refused.why, refused.retry_after) == ("never", None)
            continue
        assert refused.retry_after is not None
        before = clock.now
        # a wait of less than the clock's own coarseness has no instant before its end
        if refused.retry_after > 1e-3:
            clock.now = before + refused.retry_after * (1 - 1e-6)
            assert not governor.peek("mail", subject, cost).allowed
        clock.now = before + refused.retry_after
        assert governor.take("mail", subject, cost).allowed


_capacities = st.sampled_from([1, 2, 5, 12, 12])
_soon = st.sampled_from([0.0, 0.0, 0.25, 1.0, 3.75])


@_few
@given(st.lists(st.tuples(_soon, st.one_of(_costs, _capacities.map(lambda n: -n))), max_size=120), _capacities)
def test_a_changed_exact_limit_counts_what_came_before(steps: list[tuple[float, int]], capacity: int) -> None:
    """A negative step sets a capacity. Every admission keeps the limit of its moment over the whole window before."""
    clock = VirtualClock()
    governor = Governor({"mail": Limit(capacity=capacity, window=4)}, clock=clock)
    check = governor.bind("mail")
    admitted: Admitted = []
    for gap, step in steps:
        clock.pass_(gap)
        if step < 0:
            capacity = -step
            governor.set_limit("mail", Limit(capacity=capacity, window=4))
            continue
        edge = clock.now - 4
        live = sum(units for at, units in admitted if at > edge)
        allowed = check("", step).allowed
        assert allowed == (live + step <= capacity)
        if allowed:
            admitted.append((clock.now, step))


@_few
@given(st.lists(st.tuples(_gaps, st.one_of(_costs, st.just(None))), max_size=100), st.data())
def test_a_changed_gcra_limit_hands_out_no_more_than_burst_and_refill(
    steps: list[tuple[float, int | None]], data: st.DataObject
) -> None:
    """``None`` changes the limit. Any stretch gets at most its last burst and what came back in it."""
    clock = VirtualClock()
    limit = Limit(capacity=10, window=4, kind="gcra")
    governor = Governor({"mail": limit}, clock=clock)
    admitted: list[tuple[float, int, int]] = []
    refilled = 0.0
    for gap, step in steps:
        clock.pass_(gap)
        refilled += gap * limit.rate
        if step is None:
            capacity = data.draw(_capacities)
            window = data.draw(st.sampled_from([1.0, 4.0, 9.0]))
            limit = Limit(capacity=capacity, window=window, kind="gcra", burst=data.draw(st.integers(1, capacity)))
            governor.set_limit("mail", limit)
        elif governor.take("mail", cost=step).allowed:
            admitted.append((refilled, step, limit.most))
    for begin, (since, _, _) in enumerate(admitted):
        total = 0
        for until, cost, burst in admitted[begin:]:
            total += cost
            assert total <= burst + (until - since) + 1e-6


def test_many_subjects_come_and_go() -> None:
    """With sweeping and growing all the time, each of many subjects keeps its limit and gets all of it."""
    for kind in ("exact", "gcra"):
        clock = VirtualClock()
        limit = Limit(capacity=6, window=8, kind=kind)
        governor = Governor({"mail": limit}, clock=clock)
        check = governor.bind("mail")
        admitted: dict[int, list[float]] = {}
        for step in range(60_000):
            clock.now += 1 / 4096
            # a slow drift through 30,000 subjects, each met about four times, now and then again much later
            subject = (step // 4 + (step * 7919) % 400) if step % 50 else step // 3
            if check(f"user:{subject}").allowed:
                admitted.setdefault(subject, []).append(clock.now)
        assert all(len(times) - bisect_right(times, times[-1] - 8) <= 6 for times in admitted.values())
        assert sum(map(len, admitted.values())) > 30_000
