"""OTLP 1.x traces as JSON: written for a collector, and read strictly enough from clients. Pure.

https://opentelemetry.io/docs/specs/otlp/: ids are hex, 64-bit numbers are text, what is unknown is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from valhalla.features.observability.tracing.contracts import Kept
from valhalla.kit.spans import Kind, Span

KINDS: Final[tuple[Kind, ...]] = ("internal", "internal", "server", "client", "producer", "consumer")
_NUMBERS: Final = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_TRACE: Final = re.compile("[0-9a-f]{32}")
_SPAN: Final = re.compile("[0-9a-f]{16}")
MOST_ATTRIBUTES: Final = 128


def written(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the request that carries rows of the table to a collector."""
    services: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        services.setdefault(row["service"], []).append(_span(row))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
                "scopeSpans": [{"scope": {"name": "valhalla"}, "spans": spans}],
            }
            for service, spans in services.items()
        ]
    }


def nanoseconds(row: Mapping[str, Any]) -> tuple[int, int]:
    """Return when a row's span began and ended, since 1970."""
    started: datetime = row["started_at"]
    begin = int(started.timestamp()) * 1_000_000_000 + started.microsecond * 1000
    return begin, begin + int(row["seconds"] * 1e9)


def attributes(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a row's span, with what has columns of its own."""
    own = {"valhalla.correlation_id": row["correlation_id"], "enduser.id": row["principal"]}
    return {**(row["attributes"] or {}), **{name: value for name, value in own.items() if value is not None}}


def kind_number(row: Mapping[str, Any]) -> int:
    """Return OTLP's number of a row's kind."""
    return _NUMBERS.get(row["kind"], 1)


def _span(row: Mapping[str, Any]) -> dict[str, Any]:
    begin, end = nanoseconds(row)
    return {
        "traceId": row["trace_id"],
        "spanId": row["span_id"],
        **({"parentSpanId": row["parent_id"]} if row["parent_id"] else {}),
        "name": row["name"],
        "kind": kind_number(row),
        "startTimeUnixNano": str(begin),
        "endTimeUnixNano": str(end),
        "attributes": [{"key": name, "value": _value(value)} for name, value in attributes(row).items()],
        "status": {"code": 2} if row["status"] == "error" else {},
    }


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value if isinstance(value, str) else msgspec.json.encode(value).decode()}


class _KeyValue(msgspec.Struct):
    key: str
    value: dict[str, Any] = {}


class _Status(msgspec.Struct):
    code: int | str = 0
    message: str = ""


class _Span(msgspec.Struct, rename="camel"):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""
    kind: int | str = 0
    start_time_unix_nano: int | str = 0
    end_time_unix_nano: int | str = 0
    attributes: list[_KeyValue] = []
    status: _Status | None = None


class _Resource(msgspec.Struct):
    attributes: list[_KeyValue] = []


class _ScopeSpans(msgspec.Struct):
    spans: list[_Span] = []


class _ResourceSpans(msgspec.Struct, rename="camel"):
    resource: _Resource | None = None
    scope_spans: list[_ScopeSpans] = []


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: list[_ResourceSpans] = []


def read(body: bytes) -> Iterator[tuple[str, Span | None]]:
    """Yield service and span of each that a request holds, ``None`` for one whose ids or times are wrong.

    Raises:
        msgspec.MsgspecError: it is not such a request.
        UnicodeDecodeError: it is not text.
        RecursionError: it is nested too deeply.
    """
    request = msgspec.json.decode(body, type=_Request)
    for resource in request.resource_spans:
        found = _plain(resource.resource.attributes if resource.resource is not None else [])
        service = str(found.get("service.name") or "unknown")
        for scope in resource.scope_spans:
            for each in scope.spans:
                yield service, _read(each)


def _read(each: _Span) -> Span | None:
    begin, end = _nano(each.start_time_unix_nano), _nano(each.end_time_unix_nano)
    if begin is None or end is None:
        return None
    return checked(
        each.trace_id.lower(),
        each.span_id.lower(),
        each.parent_span_id.lower(),
        name=each.name,
        kind=each.kind if isinstance(each.kind, int) else 0,
        begin=begin,
        end=end,
        failed=each.status is not None and each.status.code in (2, "STATUS_CODE_ERROR"),
        attributes=_plain(each.attributes),
    )


def checked(
    trace_id: str,
    span_id: str,
    parent_id: str,
    *,
    name: str,
    kind: int,
    begin: int,
    end: int,
    failed: bool,
    attributes: Mapping[str, Any],
) -> Span | None:
    """Return what a client sent as a span, ``None`` if ids or times (in nanoseconds) are wrong."""
    good = _TRACE.fullmatch(trace_id) and _SPAN.fullmatch(span_id) and int(trace_id, 16) and int(span_id, 16)
    if not good or not 0 < begin <= end < 2**64 or (parent_id and _SPAN.fullmatch(parent_id) is None):
        return None
    seconds = (end - begin) / 1e9
    known = KINDS[kind] if 0 <= kind < len(KINDS) else "internal"
    return Span(
        *(trace_id, span_id, parent_id or None, name or "unnamed", known, begin / 1e9, seconds),
        failed=failed,
        attributes=attributes,
    )


def _nano(value: int | str) -> int | None:
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) <= 20):
            return None
        value = int(value)
    return value if 0 < value < 2**64 else None


def _plain(pairs: Sequence[_KeyValue]) -> dict[str, Any]:
    return {pair.key[:200]: _read_value(pair.value) for pair in pairs[:MOST_ATTRIBUTES]}


def _read_value(value: Mapping[str, Any]) -> Any:
    for name, inner in value.items():
        if name == "intValue":
            return int(inner) if isinstance(inner, str) and inner.lstrip("-").isdigit() and len(inner) < 21 else inner
        if name in ("stringValue", "boolValue", "doubleValue", "bytesValue"):
            return inner
        # lists and maps as they came: they are shown, not computed with
        return inner
    return None


def kept(service: str, span: Span, at: float, principal: str | None) -> Kept:
    """Return a client's span as it is stored; by whom it came is not the client's to say."""
    return Kept(span, at, entry=span.parent_id is None, service=service, principal=principal)
