"""Words for people: safe to print, and short."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Final

_UNITS: Final = (("s", 1, 90), ("min", 60, 90 * 60), ("h", 3600, 48 * 3600), ("d", 86400, float("inf")))


def printable(value: object) -> str:
    """Return one line without control characters: a description must not move the cursor or fake a row."""
    return "".join(
        " " if c in "\n\t" else "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in {"Cc", "Cf", "Cs"} else c
        for c in str(value)
    )


def width(text: str) -> int:
    """Return the columns a terminal needs for ``text``."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in {"W", "F"} for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def relative(instant: datetime | None, now: datetime | None = None) -> str:
    """Say when, seen from now: ``in 3 h``, ``5 min ago``."""
    if instant is None:
        return "-"
    seconds = (instant - (now or datetime.now(UTC))).total_seconds()
    distance = abs(seconds)
    unit, size = next((unit, size) for unit, size, below in _UNITS if distance < below)
    amount = f"{round(distance / size)} {unit}"
    return f"in {amount}" if seconds >= 0 else f"{amount} ago"


def instant_of(text: object) -> datetime | None:
    """Read an RFC 3339 instant of a document; ``None`` when there is none."""
    if not isinstance(text, str):
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
