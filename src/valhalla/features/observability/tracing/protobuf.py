"""OTLP traces as protobuf: the few fields that we have, written by hand. Pure.

A library would bring the pin of its protobuf runtime into every program that imports the client.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from valhalla.features.observability.tracing.otlp import attributes, kind_number, nanoseconds


def written(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the ``ExportTraceServiceRequest`` that carries rows of the table to a collector."""
    services: dict[str, list[bytes]] = {}
    for row in rows:
        services.setdefault(row["service"], []).append(_bytes(2, _span(row)))
    found = b""
    for service, spans in services.items():
        resource = _bytes(1, _pair("service.name", service))
        scope = _bytes(1, _bytes(1, b"valhalla")) + b"".join(spans)
        found += _bytes(1, _bytes(1, resource) + _bytes(2, scope))
    return found


def _span(row: Mapping[str, Any]) -> bytes:
    begin, end = nanoseconds(row)
    parts = [_bytes(1, bytes.fromhex(row["trace_id"])), _bytes(2, bytes.fromhex(row["span_id"]))]
    if row["parent_id"]:
        parts.append(_bytes(4, bytes.fromhex(row["parent_id"])))
    parts += [_bytes(5, row["name"].encode()), _integer(6, kind_number(row)), _fixed(7, begin), _fixed(8, end)]
    parts += [_bytes(9, _pair(name, value)) for name, value in attributes(row).items()]
    if row["status"] == "error":
        parts.append(_bytes(15, _integer(3, 2)))
    return b"".join(parts)


def _pair(name: str, value: Any) -> bytes:
    return _bytes(1, name.encode()) + _bytes(2, _value(value))


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return _integer(2, int(value))
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return _integer(3, value)
    if isinstance(value, float):
        return _varint(4 << 3 | 1) + struct.pack("<d", value)
    return _bytes(1, value.encode() if isinstance(value, str) else msgspec.json.encode(value))


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _integer(field: int, value: int) -> bytes:
    # a negative number is its two's complement of 64 bits
    return _varint(field << 3) + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)


def _fixed(field: int, value: int) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<Q", value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def told(rejected: int, why: str) -> bytes:
    """Return the ``ExportTraceServiceResponse`` that says how many spans were refused; empty if none was."""
    return _bytes(1, _integer(1, rejected) + _bytes(2, why.encode())) if rejected else b""
