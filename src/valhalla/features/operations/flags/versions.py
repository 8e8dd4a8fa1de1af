"""Semantic versions (semver.org 2.0.0), as the operator ``sem_ver`` reads them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, TypeAlias

OPERATORS: Final = ("=", "!=", "<", "<=", ">", ">=", "^", "~")

_VERSION: Final = re.compile(
    r"[vV]?(0|[1-9]\d{0,18})(?:\.(0|[1-9]\d{0,18}))?(?:\.(0|[1-9]\d{0,18}))?"
    r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)
Version: TypeAlias = tuple[int, int, int, tuple[Any, ...]]
# a release comes after all of its pre-releases
_RELEASE: Final[tuple[Any, ...]] = ((2,),)


def compare(one: Any, operator: Any, other: Any) -> bool | None:  # noqa: PLR0911 - one for each operator
    """Return what the operator says, None where one of the three is not what it should be."""
    left, right = parse(one), parse(other)
    if left is None or right is None:
        return None
    match operator:
        case "=":
            return left == right
        case "!=":
            return left != right
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case ">=":
            return left >= right
        case "^":
            return left[0] == right[0]
        case "~":
            return left[:2] == right[:2]
        case _:
            return None


def parse(value: Any) -> Version | None:
    """Return what orders a version; ``v1``, ``1.2`` and the number 1.2 are versions too."""
    return None if isinstance(value, bool) or not isinstance(value, (str, int, float)) else _parse(str(value))


@lru_cache(maxsize=1024)
def _parse(text: str) -> Version | None:
    found = _VERSION.fullmatch(text) if len(text) <= 256 else None
    if found is None:
        return None
    pre = found[4]
    if pre is None:
        order = _RELEASE
    else:
        parts = pre.split(".")
        if any(part.isdigit() and len(part) > 1 and part[0] == "0" for part in parts):
            return None
        # numbers come before words; a longer list after its beginning
        order = tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts)
    return int(found[1]), int(found[2] or 0), int(found[3] or 0), order
