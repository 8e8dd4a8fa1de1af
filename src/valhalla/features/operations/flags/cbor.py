"""Canonical CBOR (RFC 7049 section 3.9) of JSON values: what flagd hashes from its third generation of buckets on."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, isnan
from struct import pack, unpack
from typing import Any, cast


def canonical(value: Any) -> bytes:  # noqa: PLR0911 - one for each kind
    """Encode; a float without a fraction counts as the integer, as flagd has it.

    Raises:
        ValueError: the value is not JSON, or an integer has more than 64 bits.
    """
    match value:
        case None:
            return b"\xf6"
        case bool():
            return b"\xf5" if value else b"\xf4"
        case str():
            raw = value.encode("utf-8", "surrogatepass")
            return _head(0x60, len(raw)) + raw
        case int():
            return _head(0x00, value) if value >= 0 else _head(0x20, -1 - value)
        case float():
            return _float(value)
        case list() | tuple():
            items = cast("list[Any]", value)
            return _head(0x80, len(items)) + b"".join(map(canonical, items))
        case Mapping():
            pairs = [(canonical(k), canonical(v)) for k, v in cast("Mapping[Any, Any]", value).items()]
            pairs.sort(key=lambda pair: (len(pair[0]), pair[0]))
            return _head(0xA0, len(pairs)) + b"".join(k + v for k, v in pairs)
        case _:
            raise ValueError(f"{type(value).__name__} has no form in JSON")


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes((major | number,))
    for width, (code, form) in enumerate(((24, ">BB"), (25, ">BH"), (26, ">BI"), (27, ">BQ"))):
        if number < 1 << (8 << width):
            return pack(form, major | code, number)
    raise ValueError("an integer has more than 64 bits")


def _float(value: float) -> bytes:
    if value.is_integer() and -(2**63) <= value <= 2**64 - 1:
        return canonical(int(value))
    if isnan(value):
        return b"\xf9\x7e\x00"
    if not isfinite(value):
        return b"\xf9\x7c\x00" if value > 0 else b"\xf9\xfc\x00"
    # the shortest form that keeps the value
    for head, form in ((b"\xf9", ">e"), (b"\xfa", ">f")):
        try:
            raw = pack(form, value)
        except OverflowError:
            continue
        if unpack(form, raw)[0] == value:
            return head + raw
    return b"\xfb" + pack(">d", value)
