"""Text for databases: JSON without what Postgres cannot hold (NUL, lone surrogates)."""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from valhalla.kit.redact import storable

# no duration is longer: JSON has no infinity, and neither does a database's clock
LONGEST: Final = 1e12

_ENCODER: Final = msgspec.json.Encoder()


def pack(value: object) -> bytes:
    """Return ``value`` as JSON; text that could not be stored loses the characters that are in the way."""
    try:
        data = _ENCODER.encode(value)
    except UnicodeEncodeError:
        return _ENCODER.encode(_storable(msgspec.to_builtins(value)))
    return data if b"\\u0000" not in data else _ENCODER.encode(_storable(msgspec.to_builtins(value)))


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_storable(item) for item in cast("list[Any]", value)]
    return value


def seconds(value: float) -> float:
    """Return a duration that a database can add to its clock."""
    return min(value, LONGEST)
