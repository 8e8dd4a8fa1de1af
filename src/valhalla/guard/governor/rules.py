"""The arithmetic of limits as pure functions, to be repeated in Lua and plpgsql. No I/O, no clock.

All numbers of one call are in one unit: seconds as floats, or whole microseconds. A store that counts in Lua takes
microseconds, because Lua's numbers are doubles and nanoseconds since 1970 do not fit in one exactly.

**Why no window sees more than N.** ``tat`` is the instant at which the bucket is full again. A call at ``now`` moves it
by ``cost * interval`` and is admitted if it is then at most ``burst * interval`` ahead of ``now``. Of the calls in a
window, the first leaves ``tat >= first + cost * interval`` and the last finds ``tat <= last + burst * interval``, so
together they cost at most ``burst + (last - first) / interval``. With ``interval >= window / (N - burst)`` that is at
most ``N``. (With ``burst = N`` the interval is the window, and a half-open window sees less than ``N + 1``.)
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeVar

from valhalla.guard.governor.limits import Limit

Number = TypeVar("Number", int, float)


def gcra(tat: Number, now: Number, cost: int, interval: Number, burst: int) -> tuple[Number, bool, Number]:
    """Return ``(new tat, allowed, retry_after)``; a refusal leaves ``tat`` as it is.

    ``tat`` of a key that is not stored is ``now`` (or anything earlier); a key may be forgotten once ``tat <= now``.
    ``cost`` is from 1 to ``burst``: more can never be admitted, which the caller refuses before.
    """
    ahead = max(tat, now) + cost * interval
    wait = ahead - burst * interval - now
    if wait > 0:
        return tat, False, wait
    return ahead, True, wait - wait


def refund(tat: Number, now: Number, cost: int, interval: Number, age: Number) -> Number:
    """Return the new ``tat`` after a call of ``age`` ago is given back, less what has come back by itself since."""
    owed = cost * interval - age
    return tat - owed if owed > 0 and tat > now else tat


def rescale(tat: int, now: int, before: int, after: int) -> int:
    """Return ``tat`` (whole units) for a new interval, so that the units that are in use stay in use."""
    return tat if tat <= now else now + -(-(tat - now) * after // before)


def state(tat: Number, now: Number, interval: Number, burst: int) -> tuple[int, Number]:
    """Return ``(units remaining, time until full again)``."""
    ahead = tat - now
    return (burst, ahead - ahead) if ahead <= 0 else (math.floor((burst * interval - ahead) / interval), ahead)


def interval_of(limit: Limit, ticks_per_second: int = 1_000_000) -> int:
    """Return a GCRA limit's interval in whole ticks, rounded up: rounding never admits more."""
    return -(-round(limit.window * ticks_per_second) // max(1, limit.capacity - limit.most))


def exact(times: Sequence[Number], now: Number, cost: int, capacity: int, window: Number) -> tuple[bool, Number]:
    """Return ``(allowed, retry_after)`` of an exact limit; ``times`` holds one entry per unit, oldest first.

    A unit that was taken at ``t`` counts until ``t + window``, not including it.
    """
    live = len(times) - bisect_right(times, now - window)
    short = live + cost - capacity
    if short <= 0:
        return True, now - now
    return False, times[len(times) - live + short - 1] + window - now
