"""How results and held arguments are kept: pickled inside the process, as tagged JSON outside of it.

Tagged JSON gives back the types it was given (a tuple stays a tuple, bytes stay bytes); what has no such form is
refused, never guessed.
"""

from __future__ import annotations

import math
import pickle
from base64 import b64decode, b64encode
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

import orjson

_AS_IS: Final = frozenset({int, str, float, bool, bytes, type(None)})
_TAG: Final = "\x00t"


class MemoryCodec:
    """Values that stay in this process: immutable ones as they are in a 1-tuple, others as pickle of our own making."""

    def encode(self, value: object) -> Any:
        """Return the kept form.

        Raises:
            TypeError: the value cannot be pickled.
        """
        if type(value) in _AS_IS:
            return (value,)
        try:
            return pickle.dumps(value, 5)
        except Exception as error:  # user types raise anything
            raise TypeError(f"{type(value).__name__} cannot be kept") from error

    def decode(self, stored: Any) -> object:
        """Return a fresh value."""
        # the bytes were made by ``encode`` in this process and never left it
        if isinstance(stored, bytes):
            return pickle.loads(stored)  # noqa: S301
        return stored[0]


class JsonCodec:
    """Values that leave the process, as JSON with tags for what JSON does not know."""

    def encode(self, value: object) -> bytes:
        """Return the kept form.

        Raises:
            TypeError: the value, or a part of it, has no such form.
        """
        try:
            return orjson.dumps(_tagged(value, 0))
        except (orjson.JSONEncodeError, RecursionError) as error:
            raise TypeError(str(error)) from error

    def decode(self, stored: bytes) -> object:
        """Return a fresh value."""
        return _untagged(orjson.loads(stored))


def _tagged(value: object, depth: int) -> Any:  # noqa: PLR0911 - one line per type
    if depth > 100:
        raise TypeError("nested too deeply")
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        small = -(2**63) <= cast("int", value) < 2**64
        return value if small else {_TAG: "int", "v": str(value)}
    if kind is float:
        return value if math.isfinite(cast("float", value)) else {_TAG: "float", "v": repr(value)}
    if kind is list:
        return [_tagged(item, depth + 1) for item in cast("list[object]", value)]
    if kind is dict:
        members = cast("dict[object, object]", value)
        if all(type(key) is str for key in members) and _TAG not in members:
            return {key: _tagged(item, depth + 1) for key, item in members.items()}
        pairs = [[_tagged(key, depth + 1), _tagged(item, depth + 1)] for key, item in members.items()]
        return {_TAG: "dict", "v": pairs}
    if kind in (tuple, set, frozenset):
        items = cast("tuple[object, ...]", value)
        return {_TAG: kind.__name__, "v": [_tagged(item, depth + 1) for item in items]}
    return _scalar(value)


def _scalar(value: object) -> dict[str, Any]:
    kind = type(value)
    if kind is bytes:
        return {_TAG: "bytes", "v": b64encode(cast("bytes", value)).decode()}
    if kind in (datetime, date):
        return {_TAG: kind.__name__, "v": cast("datetime", value).isoformat()}
    if kind is timedelta:
        delta = cast("timedelta", value)
        return {_TAG: "timedelta", "v": [delta.days, delta.seconds, delta.microseconds]}
    if kind in (UUID, Decimal):
        return {_TAG: kind.__name__, "v": str(value)}
    raise TypeError(f"{kind.__name__} has no form outside of this process")


def _untagged(value: Any) -> Any:
    if isinstance(value, list):
        return [_untagged(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    members = cast("dict[str, Any]", value)
    tag = members.get(_TAG)
    if tag is None:
        return {key: _untagged(item) for key, item in members.items()}
    return _BACK[tag](members["v"])


def _items(value: list[Any]) -> list[Any]:
    return [_untagged(item) for item in value]


def _pairs(value: list[tuple[Any, Any]]) -> dict[Any, Any]:
    return {_untagged(key): _untagged(item) for key, item in value}


def _timedelta(value: tuple[int, int, int]) -> timedelta:
    return timedelta(*value)


def _tuple(value: list[Any]) -> tuple[Any, ...]:
    return tuple(_items(value))


def _set(value: list[Any]) -> set[Any]:
    return set(_items(value))


def _frozenset(value: list[Any]) -> frozenset[Any]:
    return frozenset(_items(value))


_BACK: Final[dict[str, Any]] = {
    "int": int,
    "float": float,
    "tuple": _tuple,
    "set": _set,
    "frozenset": _frozenset,
    "dict": _pairs,
    "bytes": b64decode,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "timedelta": _timedelta,
    "UUID": UUID,
    "Decimal": Decimal,
}
