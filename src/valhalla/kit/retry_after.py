"""``Retry-After``: a number of seconds or a date (RFC 9110, section 10.2.3)."""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime


def seconds_of(told: str, now: datetime) -> float | None:
    """Return the seconds that the header's value asks for, ``None`` if it is none; a date that has passed: 0."""
    told = told.strip()
    if told.isascii() and told.isdecimal():
        return float(told[:9])
    try:
        at = parsedate_to_datetime(told)
    except ValueError:
        return None
    return None if at.tzinfo is None else max(0.0, (at - now).total_seconds())
