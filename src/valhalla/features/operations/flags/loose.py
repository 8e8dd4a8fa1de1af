"""How JsonLogic compares and converts: as JavaScript does."""

from __future__ import annotations

import math
from typing import Any, cast


def number(value: Any) -> float:  # noqa: PLR0911 - one for each kind
    """Return the value as a number, NaN if it is none."""
    if isinstance(value, (int, float)):
        return value
    if value is None:
        return 0
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return 0
        # float() knows words and separators that JavaScript does not
        if "_" in text or "n" in text.lower():
            return math.nan
        try:
            return float(text)
        except ValueError:
            return math.nan
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return 0 if not items else number(items[0]) if len(items) == 1 else math.nan
    return math.nan


def text_of(value: Any) -> str:
    """Return the value as text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, list):
        return ",".join(map(text_of, cast("list[Any]", value)))
    return "[object Object]" if isinstance(value, dict) else str(value)


def truthy(value: Any) -> bool:
    """Say whether a value counts as true: an empty list does not, ``"0"`` does."""
    if isinstance(value, dict):
        return True
    return bool(value) and value == value  # noqa: PLR0124 - NaN is false


def equal(one: Any, other: Any) -> bool:
    """``==``."""
    if one is None or other is None:
        return one is other
    if isinstance(one, str) and isinstance(other, str):
        return one == other
    if isinstance(one, (list, dict)) or isinstance(other, (list, dict)):
        if isinstance(one, (list, dict)) and isinstance(other, (list, dict)):
            return False
        return text_of(one) == text_of(other)
    return number(one) == number(other)


def identical(one: Any, other: Any) -> bool:
    """``===``: true is not 1, 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other
    return type(one) is type(other) and not isinstance(one, (list, dict)) and one == other


def less(one: Any, other: Any) -> bool:
    """``<``."""
    if isinstance(one, str) and isinstance(other, str):
        return one < other
    return number(one) < number(other)


def at_most(one: Any, other: Any) -> bool:
    """``<=``."""
    if isinstance(one, str) and isinstance(other, str):
        return one <= other
    return number(one) <= number(other)
