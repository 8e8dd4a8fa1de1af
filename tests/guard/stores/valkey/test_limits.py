"""The limits of the scripts themselves, on a clock of the test's: step by step what governor/rules.py says."""

from __future__ import annotations

import random
from bisect import bisect_right
from importlib.resources import files
from typing import Any

import msgspec
import pytest
from redis import Redis

from valhalla.guard.contracts import Take
from valhalla.guard.governor import Limit, rules
from valhalla.guard.stores.valkey.takes import takes_of
from valhalla.kernel.ids import new_id

SECOND = 1_000_000
# far ahead of the server's own clock: nothing expires by that while the test's stands elsewhere
START = 4_000_000_000 * SECOND
W = 1000.0

_TAKE = """
local ok, wait, limit, policies = take_all(cmsgpack.unpack(ARGV[1]), true)
write_charges()
return cmsgpack.pack({ ok, wait or false, limit or false, policies })
"""


class Counter:
    """The take of the scripts, at an instant that the test names."""

    def __init__(self, server: Redis) -> None:
        folder = files("valhalla.guard.stores.valkey") / "lua"
        text = (folder / "rows.lua").read_text() + (folder / "limits.lua").read_text() + _TAKE
        clock = "local now = clock[1] * 1000000 + clock[2]"
        assert clock in text
        self._script = server.register_script(text.replace(clock, "local now = tonumber(ARGV[2])"))
        self._prefix = f"{{{new_id()}}}guard:"

    def take(self, now: int, *takes: Take) -> tuple[bool, Any, Any, list[Any]]:
        request = msgspec.msgpack.encode(takes_of(takes))
        return msgspec.msgpack.decode(self._script([self._prefix], [request, now]))  # pyright: ignore


@pytest.fixture
def counter(server: Redis) -> Counter:
    return Counter(server)


def arrivals(chance: random.Random, count: int) -> list[int]:
    """Return instants of crowds and pauses, in order."""
    now, found = START, list[int]()
    for _ in range(count):
        now += chance.choice([0, 0, 1, SECOND, 20 * SECOND, chance.randrange(int(W) * SECOND // 4)])
        found.append(now)
    return found


def most_in_a_window(admitted: list[tuple[int, int]], window: int) -> int:
    times = [at for at, cost in admitted for _ in range(cost)]
    return max((bisect_right(times, at + window - 1) - index for index, at in enumerate(times)), default=0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["exact", "gcra"])
def test_every_step_is_the_rules_and_no_window_sees_more(counter: Counter, kind: Any, seed: int) -> None:
    chance, limit = random.Random(seed), Limit(capacity=20, window=W, name="n", kind=kind)
    window, interval = int(W) * SECOND, rules.interval_of(limit)
    tat, times, admitted = 0, list[int](), list[tuple[int, int]]()
    for now in arrivals(chance, 150):
        cost = chance.choice([1, 1, 1, 2, 7])
        ok, wait, _, ((_, left, reset),) = counter.take(now, Take("r", "s", cost, None, (limit,)))
        if kind == "gcra":
            tat = max(tat, now)
            tat, allowed, after = rules.gcra(tat, now, cost, interval, limit.most)
            expected = rules.state(tat, now, interval, limit.most)
        else:
            allowed, after = rules.exact(times, now, cost, 20, window)
            times += [now] * cost if allowed else []
            used = len(times) - bisect_right(times, now - window)
            expected = (20 - used, times[-1] + window - now if used else 0)
        assert (ok, wait or 0, (left, reset)) == (allowed, after, expected)
        if ok:
            admitted.append((now, cost))
    assert most_in_a_window(admitted, window) <= 20
    assert len(admitted) > 20


@pytest.mark.parametrize("kind", ["exact", "gcra"])
def test_a_changed_limit_keeps_its_usage(counter: Counter, kind: Any) -> None:
    def limit(capacity: int) -> Limit:
        return Limit(capacity=capacity, window=W, name="n", kind=kind)

    for _ in range(limit(20).most):
        assert counter.take(START, Take("r", limits=(limit(20),)))[0]
    assert not counter.take(START + 1, Take("r", limits=(limit(10),)))[0]
    assert not counter.take(START + 2, Take("r", limits=(limit(20),)))[0]
    wider = [counter.take(START + 3, Take("r", limits=(limit(40),)))[0] for _ in range(30)]
    assert wider.count(True) == (20 if kind == "exact" else limit(40).most - limit(20).most)


def test_several_takes_are_all_or_none(counter: Counter) -> None:
    small, large = Limit(capacity=2, window=W, name="small"), Limit(capacity=10, window=W, name="large", kind="gcra")
    both = (Take("a", limits=(large,)), Take("b", limits=(large, small)))
    assert [counter.take(START, *both)[0] for _ in range(2)] == [True, True]
    ok, wait, by, _ = counter.take(START, *both)
    assert (ok, wait, by) == (False, W * SECOND, "small")
    # two of each burst of five were taken before, none by the refused ones; now one more
    for resource in "ab":
        assert counter.take(START, Take(resource, limits=(large,)))[3][0][:2] == ["large", 2]


def test_more_than_there_ever_is_is_refused_without_a_time(counter: Counter) -> None:
    limit = Limit(capacity=5, window=W, name="n")
    assert counter.take(START, Take("r", cost=6, limits=(limit,)))[:3] == [False, False, "n"]
    assert counter.take(START, Take("r", cost=5, limits=(limit,)))[0]


def test_a_resource_without_limits_is_refused(counter: Counter) -> None:
    assert counter.take(START, Take("nobody set one"))[:3] == [False, False, False]


def test_a_clock_that_goes_back_admits_nothing_more(counter: Counter) -> None:
    limits = [Limit(capacity=5, window=W, name=kind, kind=kind) for kind in ("exact", "gcra")]
    for limit in limits:
        given = sum(bool(counter.take(START, Take("r", limits=(limit,)))[0]) for _ in range(5))
        for back in (1, 100, 900, 5000):
            assert not counter.take(START - back * SECOND, Take("r", limits=(limit,)))[0]
        assert given == limit.most


@pytest.mark.parametrize("kind", ["exact", "gcra"])
def test_takes_of_one_bucket_in_one_call_see_each_other(counter: Counter, kind: Any) -> None:
    limit = Limit(capacity=6, window=W, name="n", kind=kind, burst=3 if kind == "gcra" else None)
    take = Take("r", cost=limit.most // 3, limits=(limit,))
    assert not counter.take(START, *[take] * 4)[0]
    assert counter.take(START, *[take] * 3)[0]
    assert not counter.take(START, take)[0]
