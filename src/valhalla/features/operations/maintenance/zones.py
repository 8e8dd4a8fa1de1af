"""Wall-clock times and instants: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from valhalla.features.operations.maintenance.errors import BadWindow

DAY: Final = timedelta(days=1)


@lru_cache(maxsize=256)
def zone_of(name: str) -> ZoneInfo:
    """Return a zone of the IANA database.

    Raises:
        BadWindow: there is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise BadWindow(f"{name[:64]!a} is no zone of the IANA database, such as 'America/Toronto'") from error


def instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return when a zone's clocks show ``wall`` (naive): the first time of two.

    A time that a change skips is taken with the offset before it (RFC 5545, section 3.3.5): 02:30 becomes 03:30.
    """
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)


def wall_of(at: datetime, zone: ZoneInfo) -> datetime:
    """Return what a zone's clocks show at an instant, naive."""
    return at.astimezone(zone).replace(tzinfo=None, fold=0)


def span(start: datetime, end: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the instants of two wall-clock times, the second after the first.

    Where the clocks jump so that the end would not come after the start, the length on the wall clock is kept.
    """
    begin, finish = instant(start, zone), instant(end, zone)
    return begin, finish if finish > begin else begin + (end - start)


def naive(at: datetime, zone: ZoneInfo) -> datetime:
    """Return a time as the wall clock shows it: one without an offset is one already."""
    return at.replace(fold=0) if at.tzinfo is None else wall_of(at, zone)
