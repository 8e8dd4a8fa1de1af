"""JSON as bytes or text through orjson, with the product's types."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from valhalla.kernel.clock import isoformat


def _default(value: object) -> Any:
    if isinstance(value, datetime):
        return isoformat(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    raise TypeError(f"{type(value).__name__} has no JSON form")


def dumps(value: object) -> bytes:
    """Encode to UTF-8 JSON; instants as RFC 3339 with ``Z``, sets sorted."""
    return orjson.dumps(value, _default, orjson.OPT_PASSTHROUGH_DATETIME)


def dumps_text(value: object) -> str:
    """Encode to JSON text."""
    return dumps(value).decode()


def canonical(value: object) -> bytes:
    """Encode with sorted keys: equal values give equal bytes, for hashing (RFC 8785 in spirit; our own types only)."""
    return orjson.dumps(value, _default, orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_SORT_KEYS)


def loads(data: bytes | str) -> Any:
    """Decode JSON."""
    return orjson.loads(data)
