"""When an arena must be measured exactly, and what is near a quota. Pure."""

from __future__ import annotations

from typing import Final

from valhalla.sandbox.quota.contracts import Measured

PAUSE: Final = 60.0
"""Seconds between two exact measurements of an arena that has not grown much."""

RENEWAL: Final = 600.0
"""Seconds after which what was measured is too old: what others have freed may hide what one has taken."""


def near(limit: int) -> int:
    """Return what a sandbox may hold before its owner is warned: four fifths of the quota."""
    return limit - limit // 5


def must_measure(last: Measured | None, *, size: int, limit: int, now: float) -> bool:
    """Say whether some sandbox of an arena could be over ``limit`` bytes, judging by the size of its database.

    An exact measurement opens every relation; the size of the database is a walk through its directory.
    """
    if limit == 0 or size <= limit:
        return False
    if last is None:
        return True
    grown = size - last.size
    if grown > limit // 2:
        return True
    age = now - last.at
    if age < PAUSE:
        return False
    return last.largest + grown > limit or (grown != 0 and age >= RENEWAL)
