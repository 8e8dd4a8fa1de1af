"""The peers' limiters, ready to be called with a key; each allows a million a day per key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import limits
import limits.storage
import limits.strategies
import pyrate_limiter as pyrate
import throttled

LIMIT = 1_000_000
DAY_MS = 86_400_000

Check = Callable[[str], Any]


def _limits(strategy: type[limits.strategies.RateLimiter]) -> Callable[[], Check]:
    def make() -> Check:
        hit, item = strategy(limits.storage.MemoryStorage()).hit, limits.RateLimitItemPerDay(LIMIT)
        return lambda key: hit(item, key)

    return make


def _throttled(algorithm: throttled.RateLimiterType) -> Callable[[], Check]:
    def make() -> Check:
        # its default store forgets live keys beyond 1,024
        store = throttled.store.MemoryStore(options={"MAX_SIZE": 2_000_000})
        limiter = throttled.Throttled(
            using=algorithm.value, quota=throttled.rate_limiter.per_day(LIMIT, LIMIT), store=store
        )
        return limiter.limit

    return make


class _Buckets(pyrate.BucketFactory):
    """One bucket per key, as its documentation shows; nothing leaks in the background."""

    def __init__(self, make: Callable[[], pyrate.AbstractBucket]) -> None:
        self._make = make
        self._buckets: dict[str, pyrate.AbstractBucket] = {}
        self._clock = pyrate.MonotonicClock()

    def wrap_item(self, name: str, weight: int = 1) -> pyrate.RateItem:
        return pyrate.RateItem(name, self._clock.now(), weight=weight)

    def get(self, item: pyrate.RateItem) -> pyrate.AbstractBucket:
        found = self._buckets.get(item.name)
        if found is None:
            found = self._buckets[item.name] = self._make()
        return found


def _pyrate(bucket: Callable[[], pyrate.AbstractBucket]) -> Callable[[], Check]:
    def make() -> Check:
        acquire = pyrate.Limiter(_Buckets(bucket)).try_acquire
        return lambda key: acquire(key, blocking=False)

    return make


def _rates() -> list[pyrate.Rate]:
    return [pyrate.Rate(LIMIT, DAY_MS)]


PEERS: dict[str, Callable[[], Check]] = {
    "limits fixed window": _limits(limits.strategies.FixedWindowRateLimiter),
    "limits moving window": _limits(limits.strategies.MovingWindowRateLimiter),
    "throttled-py fixed window": _throttled(throttled.RateLimiterType.FIXED_WINDOW),
    "throttled-py gcra": _throttled(throttled.RateLimiterType.GCRA),
    "pyrate-limiter log": _pyrate(lambda: pyrate.InMemoryBucket(_rates())),
    "pyrate-limiter gcra": _pyrate(lambda: pyrate.StateBucket(_rates(), pyrate.GCRA())),
}
