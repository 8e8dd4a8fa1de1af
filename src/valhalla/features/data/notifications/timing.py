"""When a message goes out: retries, quiet hours, digests. Pure; zones are IANA names, walls are wall-clock time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from valhalla.features.data.notifications.contracts import DAYS, Digest, Quiet

# Standard Webhooks 1.0: after the first try 5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h, which is 75:35:05 in all
SCHEDULE: Final = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
MOST_ATTEMPTS: Final = len(SCHEDULE) + 1
_JITTER: Final = 0.1
_LONGEST_WAIT: Final = 86_400.0
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def retry_in(tried: int, most: int, drawn: float, retry_after: float | None = None) -> float | None:
    """Return the seconds until the next try after ``tried`` of ``most``, None after the last one.

    ``drawn`` in 0 to 1 spreads those that failed together; what the other side asks for is waited at least.
    """
    if tried >= min(most, MOST_ATTEMPTS):
        return None
    pause = SCHEDULE[tried - 1] * (1.0 + _JITTER * drawn)
    return max(pause, min(retry_after or 0.0, _LONGEST_WAIT))


def wall(text: str) -> time:
    """Read ``HH:MM``.

    Raises:
        ValueError: it has another form.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("a time of day is written HH:MM, from 00:00 to 23:59")
    return time(int(found[1]), int(found[2]))


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """Return a time zone.

    Raises:
        ValueError: there is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError("a time zone has an IANA name such as Europe/Berlin") from error


def quiet_until(quiet: Quiet, now: datetime) -> datetime | None:
    """Return when the quiet hours end that ``now`` lies in, None if it lies in none."""
    here = zone(quiet.zone)
    local = now.astimezone(here)
    start, end = wall(quiet.start), wall(quiet.end)
    # hours that cross midnight began yesterday
    for day in (local.date(), local.date() - timedelta(days=1)):
        if DAYS[day.weekday()] not in quiet.days:
            continue
        begins = datetime.combine(day, start, here).astimezone(UTC)
        last = day if end > start else day + timedelta(days=1)
        ends = datetime.combine(last, end, here).astimezone(UTC)
        if begins <= now < ends:
            return ends
    return None


def next_digest(digest: Digest, now: datetime) -> datetime:
    """Return the next moment after ``now`` at which a digest is due."""
    if digest.every is not None:
        return datetime.fromtimestamp((int(now.timestamp()) // digest.every + 1) * digest.every, UTC)
    assert digest.at is not None
    here = zone(digest.zone)
    today = now.astimezone(here).date()
    for days in range(3):
        due = datetime.combine(today + timedelta(days=days), wall(digest.at), here).astimezone(UTC)
        if due > now:
            return due
    raise AssertionError("no day has a digest")
