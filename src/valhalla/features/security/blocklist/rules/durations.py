"""Durations as Go writes them (``3h59m59.5s``), which is how CrowdSec's agents and bouncers speak. Pure."""

from __future__ import annotations

import re
from typing import Final

from valhalla.features.security.blocklist.errors import BadRule

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})(ns|us|µs|ms|s|m|h|d)")
# as good as never, and still an instant of the calendar
_MOST: Final = 100 * 365 * 86_400.0


def parse_duration(text: str) -> float:
    """Return the seconds of ``4h``, ``-1m30s``, ``168h0m0s``; days (``7d``) as ``cscli`` takes them.

    Raises:
        BadRule: it is none.
    """
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    total, at = 0.0, 0
    while at < len(rest) and len(rest) <= 64:
        found = _PART.match(rest, at)
        if found is None:
            break
        total += float(found[1]) * _UNITS[found[2]]
        at = found.end()
    if at != len(rest) or (not rest) or total > 1e12:
        if rest == "0":
            return 0.0
        raise BadRule(f"{text[:32]!a} is no duration: write 4h, 90m or 1h30m")
    return sign * min(total, _MOST)


def go_duration(seconds: float) -> str:
    """Return whole seconds as Go writes them: ``3h59m59s``, ``45s``, ``-1m0s``."""
    whole = int(seconds)
    sign, whole = ("-", -whole) if whole < 0 else ("", whole)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{sign}{hours}h{minutes}m{left}s"
    return f"{sign}{minutes}m{left}s" if minutes else f"{sign}{left}s"
