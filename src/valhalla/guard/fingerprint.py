"""The canonical form of arguments: equal calls give equal bytes, different calls different ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from hashlib import blake2b
from pathlib import PurePath
from typing import Any, Final, cast

import orjson

from valhalla.guard.errors import BadArguments

OPTIONS: Final = orjson.OPT_SORT_KEYS
SIZE: Final = 16


def hasher(name: str) -> blake2b:
    """Return the hash that fingerprints of ``name`` go on from; copy it, update it, take the digest."""
    return blake2b(name.encode() + b"\0", digest_size=SIZE)


def canonical(value: object) -> bytes:
    """Return the canonical bytes.

    Raises:
        BadArguments: something in it has none: NaN, an infinity, a number beyond 64 bits, an object of unknown kind.
    """
    try:
        data = orjson.dumps(value, default, OPTIONS)
    except (TypeError, RecursionError) as error:
        raise BadArguments(f"the arguments have no canonical form: {error}") from None
    if b"null" in data:
        check_finite(value)
    return data


def default(value: object) -> Any:
    """Give orjson the form of what it does not know.

    Raises:
        TypeError: there is none.
    """
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise TypeError("NaN and infinities have no canonical form")
        # 1.0 and 1.00 are the same amount
        return {"~decimal": str(value.normalize())}
    if isinstance(value, (bytes, bytearray)):
        return {"~bytes": value.hex()}
    if isinstance(value, (set, frozenset)):
        return {"~set": sorted(canonical(item).hex() for item in cast("set[object]", value))}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="python")
    # the type's name only: a repr may hold secrets, or an address that differs between equal calls
    raise TypeError(f"{type(value).__qualname__} has no canonical form")


def check_finite(value: object, depth: int = 0) -> None:
    """Refuse NaN and infinities, which orjson writes as ``null``: they would be taken for ``None``.

    Raises:
        BadArguments: there is one.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise BadArguments("NaN and infinities have no canonical form")
    if depth > 250:
        return
    if isinstance(value, Mapping):
        for item in cast("Mapping[object, object]", value).values():
            check_finite(item, depth + 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in cast("list[object]", value):
            check_finite(item, depth + 1)
    elif is_dataclass(value) and not isinstance(value, type):
        for member in fields(value):
            check_finite(getattr(value, member.name, None), depth + 1)
    elif callable(dump := getattr(value, "model_dump", None)):
        check_finite(dump(mode="python"), depth + 1)
