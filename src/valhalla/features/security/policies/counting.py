"""Who failed, scanned or touched decoys, and how often: exact in sliding windows, in bounded memory, per process.

An address is counted by its network of 64 bits where it is IPv6: that is what one customer has.
"""

from __future__ import annotations

from bisect import bisect_left
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
        """What was counted of all addresses since the start."""

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
        now = self._clock.monotonic()
        # taken out and put in again: the order is that of the last thing noted
        found = self._kept.pop(subject, None) or {}
        self._kept[subject] = found
        instants = found.setdefault(name, [])
        instants.append(now)
        if len(instants) > MOST_COUNTED:
            del instants[0]
        self._forget(now)

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
