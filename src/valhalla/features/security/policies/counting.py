"""Who failed, scanned or touched decoys, and how often: in sliding windows, in bounded memory.

Own counts are exact and there at once; those of other processes (``sharing``) come a fraction of a second later.

An address is counted by its network of 64 bits where it is IPv6: that is what one customer has.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections.abc import Mapping
from typing import Final, NamedTuple

from valhalla.features.operations.limits.rules import bucket_of
from valhalla.features.security.policies.contracts import COUNTERS, MOST_COUNTED
from valhalla.kernel.clock import Clock

MINUTE: Final = 60.0
HOUR: Final = 3600.0


class Answered(NamedTuple):
    """One answered request as counters see it."""

    address: str | None
    route: str
    status: int
    has_key: bool
    is_known: bool
    """Whether the key was somebody's."""


class Counters:
    """The instants of what happened per address; the oldest addresses give way to new ones."""

    def __init__(self, clock: Clock, *, most: int = 10_000) -> None:
        """``most`` addresses are remembered, each with up to 256 instants per counter."""
        self._clock = clock
        self._most = most
        self._kept: dict[str, dict[str, list[float]]] = {}
        self.evicted = 0
        self.totals: dict[str, int] = dict.fromkeys(COUNTERS, 0)
        """What was counted of all addresses since the start, in this process."""
        self.collect = False
        """Whether what is counted is kept for ``take``."""
        self.waiting = asyncio.Event()
        """Set while ``take`` has something."""
        self.untold = 0
        """What was counted and not kept for the others: too many addresses at once."""
        self._fresh: dict[str, dict[str, int]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def answered(self, one: Answered) -> None:
        """Count what an answer says of who asked."""
        if one.status < 400 or one.address is None:
            return
        if (name := counter_of(one)) is not None:
            self.note(name, one.address)

    def note(self, name: str, address: str) -> None:
        """Count one thing for an address."""
        self.totals[name] = self.totals.get(name, 0) + 1
        subject = bucket_of(address)
        if subject is None or is_shared(subject):
            return
        if self.collect:
            self._collect(subject, name)
        now = self._clock.monotonic()
        # taken out and put in again: the order is that of the last thing noted
        found = self._kept.pop(subject, None) or {}
        self._kept[subject] = found
        instants = found.setdefault(name, [])
        instants.append(now)
        if len(instants) > MOST_COUNTED:
            del instants[0]
        self._forget(now)

    def take(self, most: int) -> dict[str, dict[str, int]]:
        """Give what was counted since the last time, of ``most`` addresses at once."""
        if len(self._fresh) <= most:
            found, self._fresh = self._fresh, {}
            self.waiting.clear()
            return found
        return {subject: self._fresh.pop(subject) for subject in list(self._fresh)[:most]}

    def heard(self, subject: str, name: str, count: int, age: float) -> None:
        """Add what another process counted of a subject of ours, ``age`` seconds ago."""
        if name not in COUNTERS or age >= HOUR:
            return
        now = self._clock.monotonic()
        found = self._kept.pop(subject, None) or {}
        self._kept[subject] = found
        instants = found.setdefault(name, [])
        for _ in range(min(count, MOST_COUNTED)):
            insort(instants, now - age)
        del instants[:-MOST_COUNTED]
        self._forget(now)

    def _collect(self, subject: str, name: str) -> None:
        names = self._fresh.get(subject)
        if names is None:
            if len(self._fresh) >= self._most:
                self.untold += 1
                return
            names = self._fresh[subject] = {}
        names[name] = min(names.get(name, 0) + 1, MOST_COUNTED)
        self.waiting.set()

    def of(self, address: str | None) -> Mapping[str, int] | None:
        """Return the counts of an address, ``None`` if nothing was counted within the hour."""
        if not self._kept or address is None or (subject := bucket_of(address)) is None:
            return None
        found = self._kept.get(subject)
        if found is None:
            return None
        now = self._clock.monotonic()
        counts: dict[str, int] = {}
        for name in COUNTERS:
            instants = found.get(name, ())
            counts[name] = len(instants) - bisect_left(instants, now - MINUTE)
            counts[f"{name}_hour"] = len(instants) - bisect_left(instants, now - HOUR)
        return counts if any(counts.values()) else None

    def _forget(self, now: float) -> None:
        while len(self._kept) > self._most:
            self._kept.pop(next(iter(self._kept)))
            self.evicted += 1
        # two for each that comes: those that are over go sooner than they came
        for _ in range(2):
            subject = next(iter(self._kept))
            if any(instants[-1] > now - HOUR for instants in self._kept[subject].values()):
                return
            self._kept.pop(subject)


def is_shared(address: str) -> bool:
    """Say whether an address is everybody's: loopback is every program of a machine, and any proxy nobody declared."""
    return address.startswith("127.") or address in ("::1", "::/64")


def counter_of(one: Answered) -> str | None:
    """Return what an answer counts as: a key that is nobody's, a path that is not there, or something not allowed."""
    if one.status == 401:
        if one.has_key:
            return "failed_auth"
        return "scans" if not one.route else None
    if one.status in {404, 405}:
        # a known caller may ask for what is gone, but not for paths that never were
        return "scans" if not one.route or not one.is_known else None
    return "denied" if one.status == 403 else None
