"""OTLP traces as protobuf, read by hand: the few fields that are kept. Pure."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

from valhalla.features.observability.tracing.otlp import MOST_ATTRIBUTES, checked
from valhalla.kit.spans import Span

_DEEPEST: Final = 16
_WIDTHS: Final = {1: 8, 5: 4}


class Malformed(ValueError):  # noqa: N818 - named after what was found
    """The bytes are not of protobuf's form."""


def read(body: bytes) -> Iterator[tuple[str, Span | None]]:
    """Yield service and span of each that a request holds, ``None`` for one whose ids or times are wrong.

    Raises:
        Malformed: it is no protobuf, or a field has another type than it has in OTLP.
        UnicodeDecodeError: a text is not UTF-8.
    """
    for resource in _every(body, 1):
        pairs = [pair for found in _every(resource, 1) for pair in _every(found, 1)]
        service = str(_plain(pairs).get("service.name") or "unknown")
        for scope in _every(resource, 2):
            for span in _every(scope, 2):
                yield service, _read_span(span)


def _read_span(data: bytes) -> Span | None:
    texts, numbers, pairs = {1: b"", 2: b"", 4: b"", 5: b"", 15: b""}, {6: 0, 7: 0, 8: 0}, list[bytes]()
    for field, value in _fields(data):
        if field in texts:
            texts[field] = _as_bytes(value)
        elif field in numbers:
            numbers[field] = _as_int(value)
        elif field == 9:
            pairs.append(_as_bytes(value))
    return checked(
        texts[1].hex(),
        texts[2].hex(),
        texts[4].hex(),
        name=texts[5].decode(),
        kind=numbers[6],
        begin=numbers[7],
        end=numbers[8],
        failed=any(field == 3 and value == 2 for field, value in _fields(texts[15])),
        attributes=_plain(pairs),
    )


def _plain(pairs: Sequence[bytes], depth: int = 0) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for pair in pairs[:MOST_ATTRIBUTES]:
        key, value = "", b""
        for field, found in _fields(pair):
            if field == 1:
                key = _as_bytes(found).decode()
            elif field == 2:
                value = _as_bytes(found)
        made[key[:200]] = _read_value(value, depth)
    return made


def _read_value(data: bytes, depth: int) -> Any:
    if depth > _DEEPEST:
        raise Malformed("a value is nested too deeply")
    made: Any = None
    for field, value in _fields(data):
        if field == 1:
            made = _as_bytes(value).decode()
        elif field == 2:
            made = bool(_as_int(value))
        elif field == 3:
            number = _as_int(value)
            made = number - 2**64 if number >= 2**63 else number
        elif field == 4:
            made = struct.unpack("<d", struct.pack("<Q", _as_int(value)))[0]
        elif field == 5:
            made = [_read_value(inner, depth + 1) for inner in _every(_as_bytes(value), 1)]
        elif field == 6:
            made = _plain(list(_every(_as_bytes(value), 1)), depth + 1)
        elif field == 7:
            made = base64.b64encode(_as_bytes(value)).decode()
    return made


def _every(data: bytes, wanted: int) -> Iterator[bytes]:
    return (_as_bytes(value) for field, value in _fields(data) if field == wanted)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field; what has a width is a number, too."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _read_varint(data, at)
        field, wire = tag >> 3, tag & 7
        if field == 0:
            raise Malformed("a field has no number")
        if wire == 0:
            value, at = _read_varint(data, at)
            yield field, value
            continue
        if wire == 2:
            size, at = _read_varint(data, at)
        elif (width := _WIDTHS.get(wire)) is not None:
            size = width
        else:
            raise Malformed(f"wire type {wire} is not in use")
        if at + size > end:
            raise Malformed("a field is longer than what holds it")
        piece, at = data[at : at + size], at + size
        yield field, piece if wire == 2 else int.from_bytes(piece, "little")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for byte in data[at : at + 10]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            # only 64 bits count, as in every implementation
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise Malformed("a number does not end")


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise Malformed("a number is where a text or message belongs")
    return value


def _as_int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise Malformed("a text or message is where a number belongs")
    return value
