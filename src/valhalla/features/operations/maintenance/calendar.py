"""Windows as an iCalendar feed (RFC 5545): each occurrence an event in UTC, so that no reader has to know our zones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from valhalla.features.operations.maintenance.contracts import Occurrence

_FORM: Final = "%Y%m%dT%H%M%SZ"
_LONGEST: Final = 75
# what a text cannot hold at all, in any escape
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def calendar(occurrences: Iterable[Occurrence], now: datetime) -> str:
    """Return the whole calendar."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Valhalla//Maintenance//EN",
        "CALSCALE:GREGORIAN",
        "METHOD:PUBLISH",
        "X-WR-CALNAME:Valhalla maintenance",
    ]
    for one in occurrences:
        lines += [
            "BEGIN:VEVENT",
            f"UID:{one.name}@valhalla",
            f"DTSTAMP:{now.strftime(_FORM)}",
            f"DTSTART:{one.start.strftime(_FORM)}",
            f"DTEND:{one.end.strftime(_FORM)}",
            f"SUMMARY:{escape(f'{one.window}: {one.reason}' if one.reason else one.window)}",
            f"CATEGORIES:{one.mode}",
            "STATUS:CONFIRMED",
            "TRANSP:TRANSPARENT",
            "END:VEVENT",
        ]
    lines.append("END:VCALENDAR")
    return "".join(f"{folded}\r\n" for line in lines for folded in fold(line))


def escape(text: str) -> str:
    """Write a text so that it ends nowhere but where it ends (section 3.3.11)."""
    text = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")


def fold(line: str) -> Iterator[str]:
    """Yield the pieces of a line, none over 75 octets, none in the middle of a character."""
    piece, size = "", 0
    for character in line:
        width = len(character.encode("utf-8", "replace"))
        if size + width > _LONGEST:
            yield piece
            # the blank that says that the line goes on counts, too
            piece, size = " ", 1
        piece += character
        size += width
    yield piece
