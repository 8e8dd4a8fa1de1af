"""Exact buckets: the instants of the units that count, in a ring."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any, Final

from valhalla.guard.governor.limits import Limit
from valhalla.guard.governor.shards import Shard, Table

_FIRST: Final = 4


class Ring:
    """The last ``size`` units. ``times[head]`` is the oldest and the next to be written; they ascend from there.

    ``fast`` is ``times`` too, or ``None`` while the ring remembers more units than the limit allows (it was lowered;
    what it remembers counts again when it is raised): then the slot to look at is another than the one to write.
    """

    __slots__ = ("fast", "head", "size", "times")

    def __init__(self, times: array[float]) -> None:
        self.times = times
        # untyped, because the short way finds the None by subscribing it
        self.fast: Any = times
        self.size = len(times)
        self.head = 0


class RingTable(Table[Ring]):
    """All buckets of one exact limit. ``open`` is the window while callers may go the short way, else ``None``.

    Two facts make a look without a lock enough. Stamps never descend (a caller who was held up writes the newest stamp
    there is). And a writer who finds times, head and newest stamp as they were knows that nobody wrote in between: a
    whole turn of the ring would have left a newer stamp.
    """

    # these weigh more than a number
    spare = 512

    def __init__(self, limit: Limit, now: float) -> None:
        self.limit = limit
        # a float or None; untyped, because the short way finds the None by counting with it
        self.open: Any = None
        super().__init__(shared=limit.scope == "all", now=now)

    def fresh(self, now: float) -> Ring:
        """Return an empty ring."""
        return Ring(_empty(min(_FIRST, self.limit.capacity)))

    def moved(self, bucket: Ring, now: float) -> Ring | None:
        """Keep what still counts."""
        if bucket.times[bucket.head - 1] <= now - self.limit.window:
            return None
        bucket.fast = bucket.times if bucket.size <= self.limit.capacity else None
        return bucket

    def lifetime(self) -> float:
        """A unit counts this long."""
        return self.limit.window

    def take(self, subject: str, units: int, now: float) -> bool:
        """Take the units or nothing."""
        if self.shared:
            subject = ""
        shard = self.shards[hash(subject) & self.mask]
        if subject not in shard.young:
            self.install(shard, subject, now)
        if units == 1:
            edge = now - self.limit.window
            try:
                # one line without a call, see shards
                # fmt: off
                if (times := (ring := shard.young[subject]).fast)[head := ring.head] <= edge: times[head] = now if now > times[head - 1] else times[head - 1]; ring.head = head + 1 if head + 1 < ring.size else 0; return True  # noqa: E501, E701, E702, FURB136
                # fmt: on
            except (KeyError, TypeError):
                pass
        while True:
            ring = self._ring(shard, subject, now)
            capacity, edge = self.limit.capacity, now - self.limit.window
            times, head, size = ring.times, ring.head, ring.size
            newest = times[head - 1]
            if units > capacity:
                return False
            if units > size or times[(head + units - 1 + max(0, size - capacity)) % size] > edge:
                if size >= capacity:
                    return False
                longer = _ascending(times, head) + _empty(min(capacity, max(2 * size, size + units)) - size)
                self._replace(shard, subject, ring, (times, head, newest), longer, size)
            elif self._write(shard, subject, ring, (times, head, newest), max(now, newest), head, units):
                return True

    def refund(self, subject: str, units: int, at: float | None, now: float) -> None:
        """Take the oldest units out that were taken at ``at`` or later (without it: the newest)."""
        if self.shared:
            subject = ""
        shard = self.shard(subject)
        edge = now - self.limit.window
        if at is not None and at <= edge:
            return
        while self.find(subject) is not None:
            ring = self._ring(shard, subject, now)
            times, head, size = ring.times, ring.head, ring.size
            seen = times, head, times[head - 1]
            if at is None:
                # the newest become the oldest, and free
                gone = min(units, size)
                if self._write(shard, subject, ring, seen, -math.inf, (head - gone) % size, gone, -gone):
                    return
                continue
            ascending = _ascending(times, head)
            begin = bisect_left(ascending, at)
            left = ascending[:begin] + ascending[begin + units :]
            if self._replace(shard, subject, ring, seen, _empty(size - len(left)) + left, 0):
                return

    def wait(self, subject: str, units: int, now: float) -> float | None:
        """Return the seconds until the units are there; ``None`` if they never are."""
        capacity, window = self.limit.capacity, self.limit.window
        if units > capacity:
            return None
        ring = self.find("" if self.shared else subject)
        if ring is None:
            return 0.0
        times, head, size = ring.times, ring.head, ring.size
        place = units - 1 + size - capacity
        last = -math.inf if place < 0 else times[(head + place) % size]
        if last <= now - window:
            return 0.0
        seconds = last + window - now
        # the last bit: whoever comes after exactly this long is admitted
        nudge = math.ulp(now + seconds)
        while now + seconds - window < last:
            seconds += nudge
            nudge *= 2
        return seconds

    def state(self, subject: str, now: float) -> tuple[int, float]:
        """Return units remaining and seconds until full again."""
        ring = self.find("" if self.shared else subject)
        if ring is None:
            return self.limit.capacity, 0.0
        times, head, size = ring.times, ring.head, ring.size
        edge = now - self.limit.window
        live = size - bisect_right(range(size), edge, key=lambda place: times[(head + place) % size])
        reset = max(0.0, times[head - 1] - edge) if live else 0.0
        return max(0, self.limit.capacity - live), reset

    def change(self, limit: Limit, now: float) -> None:
        """Go on under another limit of the same kind."""
        shorter = limit.capacity < self.limit.capacity
        self.limit = limit
        if shorter:
            self.requicken(now)

    def allow(self, way: bool) -> None:
        """Open or close the short way."""
        self.open = self.limit.window if way else None

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
                window: float = table.open
                edge = now - window
                shard = shards[hash(subject) & mask]
                if cost != 1 or now >= table.due:
                    return slow(subject, cost)
                # one line without a call, see shards
                # fmt: off
                if (times := (ring := shard.young[subject]).fast)[head := ring.head] <= edge: times[head] = now if now > times[head - 1] else times[head - 1]; ring.head = head + 1 if head + 1 < ring.size else 0; return admitted  # noqa: E501, E701, E702, FURB136
                # fmt: on
            except KeyError:
                if table.take(subject, 1, now):
                    return admitted
            except TypeError:
                pass
            return slow(subject, cost)

        return check

    def _ring(self, shard: Shard[Ring], subject: str, now: float) -> Ring:
        while True:
            ring = shard.young.get(subject)
            if ring is not None:
                return ring
            self.install(shard, subject, now)

    def _write(
        self,
        shard: Shard[Ring],
        subject: str,
        ring: Ring,
        seen: tuple[array[float], int, float],
        stamp: float,
        start: int,
        units: int,
        turn: int | None = None,
    ) -> bool:
        """Write ``stamp`` from ``start`` on and turn the head (by ``units``), if nobody wrote since ``seen``."""
        times, head, newest = seen
        end, size = start + units, len(times)
        first, rest = slice(start, min(end, size)), slice(0, max(0, end - size))
        front, back = array("d", [stamp]) * (first.stop - start), array("d", [stamp]) * rest.stop
        after = (head + (units if turn is None else turn)) % size
        # one line without a call, see shards
        # fmt: off
        if subject in shard.young and shard.young[subject] is ring and ring.times is times and ring.head == head and times[head - 1] == newest: times[first] = front; times[rest] = back; ring.head = after; return True  # noqa: E501, E701, E702
        # fmt: on
        return False

    def _replace(
        self,
        shard: Shard[Ring],
        subject: str,
        ring: Ring,
        seen: tuple[array[float], int, float],
        made: array[float],
        start: int,
    ) -> bool:
        """Give the ring other times, if nobody wrote since it was seen."""
        times, head, newest = seen
        size, start = len(made), start % len(made)
        # one line without a call, see shards
        # fmt: off
        if subject in shard.young and shard.young[subject] is ring and ring.times is times and ring.head == head and times[head - 1] == newest: ring.times = made; ring.fast = made if size <= self.limit.capacity else None; ring.size = size; ring.head = start; return True  # noqa: E501, E701, E702
        # fmt: on
        return False


def _empty(size: int) -> array[float]:
    return array("d", [-math.inf]) * size


def _ascending(times: array[float], head: int) -> array[float]:
    """Return a copy, oldest first."""
    return times[head:] + times[:head]
