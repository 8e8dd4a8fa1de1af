"""What is decided about alerts, in a program and in the control plane alike: order, sameness, and who wants to hear."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, Literal, cast

from valhalla.kernel.problems import Invalid

Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "error", "critical")
"""From the least to the worst."""

_RANKS: Final[Mapping[str, int]] = {name: rank for rank, name in enumerate(SEVERITIES)}
_SHAPED: Final = 2048
# What differs each time the same thing happens: UUIDs, long numbers, and ids and digests, which are runs of eight or
# more letters and digits that have a digit. "disk 1" and "disk 2" stay two things.
_CHANGING: Final = re.compile(
    r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"
    r"|\b(?=[A-Za-z]{0,40}[0-9])[0-9A-Za-z]{8,}\b"
    r"|[0-9]{4,}"
)


def check_severity(value: object) -> Severity:
    """Return ``value`` as a severity.

    Raises:
        Invalid: it is none.
    """
    if isinstance(value, str) and value in _RANKS:
        return cast("Severity", value)
    raise Invalid(f"{str(value)[:50]!r} is no severity: it is one of {', '.join(SEVERITIES)}")


def rank(severity: Severity) -> int:
    """Return the place of a severity: 0 for ``info``, 3 for ``critical``."""
    return _RANKS[severity]


def reaches(severity: Severity, minimum: Severity) -> bool:
    """Say whether ``severity`` is at least ``minimum``."""
    return _RANKS[severity] >= _RANKS[minimum]


def worse(one: Severity, other: Severity) -> Severity:
    """Return the worse of two."""
    return one if _RANKS[one] >= _RANKS[other] else other


def shape(text: str) -> str:
    """Return ``text`` with ``#`` for what differs each time: two reports of one failure have one shape."""
    return _CHANGING.sub("#", text[:_SHAPED])


def fingerprint(name: str, labels: Mapping[str, str] | None = None) -> str:
    """Return 16 hex digits that are equal for equal names and labels, in whatever order these come."""
    hashed = blake2b(digest_size=8)
    parts = [name]
    for key in sorted(labels or ()):
        parts += (key, (labels or {})[key])
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        # with its length, so that no two lists of parts are one text
        hashed.update(b"%d:" % len(data))
        hashed.update(data)
    return hashed.hexdigest()


class Pattern:
    """``*`` stands for any characters, also none and also dots; everything else for itself. Linear in the name."""

    __slots__ = ("_exact", "_first", "_last", "_middle", "text")

    def __init__(self, text: str) -> None:
        """Read a pattern.

        Raises:
            Invalid: it is empty or longer than 200 characters.
        """
        if not 0 < len(text) <= 200:
            raise Invalid("a pattern has 1 to 200 characters, such as 'payment.*'")
        self.text = text
        self._exact = "*" not in text
        self._first, *self._middle, self._last = text.split("*") if not self._exact else (text, "")

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def matches(self, name: str) -> bool:
        """Say whether the whole name fits."""
        if self._exact:
            return name == self._first
        at, end = len(self._first), len(name) - len(self._last)
        if at > end or not name.startswith(self._first) or not name.endswith(self._last):
            return False
        for part in self._middle:
            # the earliest place leaves the most for what follows
            found = name.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True
