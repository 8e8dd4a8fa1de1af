"""Values of conditions as people type them: text, and JSON where it would else be something different. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, cast

from valhalla.kit.json import dumps_text, loads

_PIECE: Final = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^,]*?)\s*(?:,|$)', re.DOTALL)
Scalar = str | int | float | bool | None


def is_scalar(value: Any) -> bool:
    """Say whether a value can be typed into one field."""
    return value is None or isinstance(value, (str, int, float, bool))


def written(value: Scalar) -> str:
    """Write a value so that ``typed`` reads it back."""
    if isinstance(value, str) and value and value == value.strip() and typed(value) == value:
        return value
    return dumps_text(value)


def typed(text: str) -> Scalar:
    """Read a value: a number, ``true``, ``false``, ``null`` or a quoted text is JSON, all else text as it stands."""
    bare = text.strip()
    try:
        value: Any = loads(bare)
    except ValueError:
        return bare
    return value if is_scalar(value) else bare


def written_all(values: Sequence[Scalar]) -> str:
    """Write several values with commas between them."""
    return ", ".join(
        dumps_text(one) if isinstance(one, str) and ("," in one or '"' in one) else written(one) for one in values
    )


def typed_all(text: str) -> list[Scalar]:
    """Read several values; empty ones are left out."""
    return [typed(piece) for piece in _PIECE.findall(text) if piece]


def is_scalars(value: Any) -> bool:
    """Say whether a value is a list of what can be typed."""
    return isinstance(value, list) and all(is_scalar(one) for one in cast("list[Any]", value))
