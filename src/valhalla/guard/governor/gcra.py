"""GCRA buckets: one float each.

The float is ``rules.gcra``'s ``tat`` on the limit's own virtual clock, which runs at the refill rate, so that one unit
is one tick (``interval = 1``). A change of the limit bends the clock where it stands: all usage stays, in no time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from valhalla.guard.governor.limits import Limit
from valhalla.guard.governor.shards import Table

Curve = tuple[float, float, float, float]
"""Rate, lift, grid and burst: virtual now = ``now * rate + lift - grid``."""


class GcraTable(Table[float]):
    """All buckets of one GCRA limit. ``open`` is ``curve`` while callers may go the short way, else ``None``."""

    def __init__(self, limit: Limit, now: float) -> None:
        self.limit = limit
        self.curve: Curve = _curve(limit, now, 0.0)
        self._bent = now
        # a Curve or None; untyped, because the short way finds the None by unpacking it
        self.open: Any = None
        super().__init__(shared=limit.scope == "all", now=now)

    def fresh(self, now: float) -> float:
        """Return a full bucket."""
        return self._virtual(now)

    def moved(self, bucket: float, now: float) -> float | None:
        """Keep what is not full."""
        return bucket if bucket > self._virtual(now) else None

    def keep(self, young: dict[str, float], some: Iterable[tuple[str, float]], now: float) -> None:
        """Put what of ``some`` is worth keeping and not there yet into ``young``."""
        virtual = self._virtual(now)
        for subject, tat in some:
            if tat > virtual:
                young.setdefault(subject, tat)

    def lifetime(self) -> float:
        """A bucket that is used up is full again after this."""
        return self.curve[3] / self.curve[0]

    def take(self, subject: str, units: int, now: float) -> bool:
        """Take the units or nothing."""
        rate, lift, grid, burst = self.curve
        if units > burst:
            return False
        if self.shared:
            subject = ""
        virtual = now * rate + lift - grid
        edge = virtual + burst - units
        shard = self.shards[hash(subject) & self.mask]
        while True:
            if subject not in shard.young:
                self.install(shard, subject, now)
            try:
                # one line without a call, see shards
                # fmt: off
                shard.young[subject] = (virtual if tat < virtual else tat) + units if (tat := shard.young[subject]) <= edge else tat  # noqa: E501, FURB136
                # fmt: on
            except KeyError:
                continue
            return tat <= edge

    def refund(self, subject: str, units: int, at: float | None, now: float) -> None:
        """Give back what a take at ``at`` still weighs (without it: all)."""
        rate, lift, grid, _ = self.curve
        virtual = now * rate + lift - grid
        if self.shared:
            subject = ""
        owed = units if at is None else units - max(0.0, now - at) * rate
        # what came back at another rate is not known any more: better too little than too much
        if owed <= 0 or (at is not None and at < self._bent) or self.find(subject) is None:
            return
        shard = self.shard(subject)
        while True:
            try:
                # one line without a call, see shards
                # fmt: off
                shard.young[subject] = less if (less := shard.young[subject] - owed) > virtual else virtual
                # fmt: on
            except KeyError:
                self.install(shard, subject, now)
            else:
                return

    def wait(self, subject: str, units: int, now: float) -> float | None:
        """Return the seconds until the units are there; ``None`` if they never are."""
        rate, lift, grid, burst = self.curve
        if units > burst:
            return None
        found = self.find("" if self.shared else subject)
        edge = now * rate + lift - grid + burst - units
        if found is None or found <= edge:
            return 0.0
        seconds = (found - edge) / rate
        # the last bit: whoever comes after exactly this long is admitted
        nudge = math.ulp(now + seconds)
        while (now + seconds) * rate + lift - grid + burst - units < found:
            seconds += nudge
            nudge *= 2
        return seconds

    def state(self, subject: str, now: float) -> tuple[int, float]:
        """Return units remaining and seconds until full again."""
        found = self.find("" if self.shared else subject)
        ahead = 0.0 if found is None else found - self._virtual(now)
        rate, _, _, burst = self.curve
        return (int(burst), 0.0) if ahead <= 0 else (max(0, math.floor(burst - ahead)), ahead / rate)

    def change(self, limit: Limit, now: float) -> None:
        """Go on under another limit of the same kind."""
        self.limit = limit
        self.curve = _curve(limit, now, self._virtual(now))
        self._bent = now

    def allow(self, way: bool) -> None:
        """Open or close the short way."""
        self.open = self.curve if way else None

    def _virtual(self, now: float) -> float:
        rate, lift, grid, _ = self.curve
        return now * rate + lift - grid

    def checker(
        self, clock: Callable[[], float], admitted: object, slow: Callable[[str, int], object]
    ) -> Callable[..., Any]:
        """Return the short way for a cost of one; all that is unusual goes to ``slow``."""
        shards, mask, table, shared = self.shards, self.mask, self, self.shared

        def check(subject: str = "", cost: int = 1) -> object:
            now = clock()
            if shared:
                subject = ""
            try:
                curve: Curve = table.open
                rate, lift, grid, burst = curve
                virtual = now * rate + lift - grid
                edge = virtual + burst - 1
                shard = shards[hash(subject) & mask]
                if cost != 1 or now >= table.due:
                    return slow(subject, cost)
                # one line without a call, see shards
                # fmt: off
                shard.young[subject] = (virtual if tat < virtual else tat) + 1 if (tat := shard.young[subject]) <= edge else tat  # noqa: E501, FURB136
                # fmt: on
                if tat <= edge:
                    return admitted
            except KeyError:
                if table.take(subject, 1, now):
                    return admitted
            except TypeError:
                pass
            return slow(subject, cost)

        return check


def _curve(limit: Limit, now: float, virtual: float) -> Curve:
    """Return the virtual clock that shows ``virtual`` at ``now``.

    Adding and subtracting ``grid`` rounds it to steps so much smaller than a unit that adding whole units is exact:
    the last unit of a burst is then never refused for a rounded bit.
    """
    burst = limit.most
    grid = 1.5 * 2.0 ** (burst.bit_length() + 4)
    return limit.rate, virtual - now * limit.rate + grid, grid, float(burst)
