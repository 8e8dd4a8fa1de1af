"""Requests per second and how long they took, out of samples of counters that only grow: pure.

Processes sample when they please. What each counted between two samples is spread over the time between them, so that
a sum over processes does not jump with whose sample fell into which step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple

# some of the histogram's bounds: a sample is small, and kept for days
TIMES: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
TOTAL: Final = "http.requests_total"
WITHIN: Final = "http.within_{}_total"
"""Requests that were answered within so many seconds."""
_LOST: Final = 3.5
"""Steps without a sample after which a process was away: nobody knows when what it counted happened."""


class Point(NamedTuple):
    """One step; ``at`` is its end in seconds since the epoch. None where nothing is known, or nothing was asked."""

    at: float
    rate: float | None
    p50: float | None
    p95: float | None


class _Sample(NamedTuple):
    at: float
    total: float
    within: Sequence[float]


class _Step:
    """What one process counted in one step."""

    __slots__ = ("covered", "total", "within")

    def __init__(self, bounds: int) -> None:
        self.covered = 0.0
        self.total = 0.0
        self.within = [0.0] * bounds


def points(items: Sequence[Mapping[str, Any]], bounds: Sequence[float], *, step: float) -> list[Point]:
    """Return a point for each step that every process which still samples has behind it, oldest first."""
    sources: dict[str, list[_Sample]] = {}
    for item in items:
        if (sample := _read(item, bounds)) is not None:
            sources.setdefault(item["source"], []).append(sample)
    if not sources:
        return []
    ordered = [sorted(found) for found in sources.values()]
    newest = max(found[-1].at for found in ordered)
    # one that has fallen silent holds nobody up
    until = min(found[-1].at for found in ordered if newest - found[-1].at < _LOST * step)
    first = int(min(found[0].at for found in ordered) // step)
    steps = [_spread(found, len(bounds), step) for found in ordered]
    return [_point(number, steps, bounds, step) for number in range(first, int(until // step))]


def _read(item: Mapping[str, Any], bounds: Sequence[float]) -> _Sample | None:
    numbers: Mapping[str, float] = item["numbers"]
    if TOTAL not in numbers:
        return None
    at = datetime.fromisoformat(str(item["at"])).timestamp()
    return _Sample(at, numbers[TOTAL], [numbers.get(WITHIN.format(bound), 0.0) for bound in bounds])


def _spread(samples: Sequence[_Sample], bounds: int, step: float) -> dict[int, _Step]:
    found: dict[int, _Step] = {}
    for before, after in pairwise(samples):
        took = after.at - before.at
        total = after.total - before.total
        within = [late - early for late, early in zip(after.within, before.within, strict=True)]
        # counters that shrink began anew
        if not 0 < took < _LOST * step or total < 0 or min(within, default=0.0) < 0:
            continue
        for number in range(int(before.at // step), int(after.at // step) + 1):
            overlap = min(after.at, (number + 1) * step) - max(before.at, number * step)
            if overlap <= 0:
                continue
            share = overlap / took
            one = found.setdefault(number, _Step(bounds))
            one.covered += overlap
            one.total += total * share
            one.within = [have + more * share for have, more in zip(one.within, within, strict=True)]
    return found


def _point(number: int, steps: Sequence[Mapping[int, _Step]], bounds: Sequence[float], step: float) -> Point:
    # of a process that came or went, half a step tells enough; less would be noise
    known = [one for each in steps if (one := each.get(number)) is not None and one.covered >= step / 2]
    at = (number + 1) * step
    if not known:
        return Point(at, None, None, None)
    rate = sum(one.total / one.covered for one in known)
    total = sum(one.total for one in known)
    within = [sum(one.within[place] for one in known) for place in range(len(bounds))]
    return Point(at, round(rate, 3), _quantile(0.5, total, within, bounds), _quantile(0.95, total, within, bounds))


def _quantile(share: float, total: float, within: Sequence[float], bounds: Sequence[float]) -> float | None:
    """Return seconds, in a straight line between two bounds; beyond the last one, that."""
    if total < 1e-6 or not bounds:
        return None
    rank, low, below = share * total, 0.0, 0.0
    for bound, count in zip(bounds, within, strict=True):
        if count >= rank and count > below:
            return round(low + (bound - low) * (rank - below) / (count - below), 6)
        low, below = bound, max(below, count)
    return bounds[-1]
