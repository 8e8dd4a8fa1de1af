"""Spans that clients send as protobuf: what the official types write is read, and whatever else comes is refused."""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from tests.features.tracing.recording import rows

from valhalla.features.observability.tracing import otlp, protobuf
from valhalla.features.observability.tracing.errors import NotOtlp
from valhalla.features.observability.tracing.otlp_api import unpacked
from valhalla.features.observability.tracing.protobuf_in import Malformed, read
from valhalla.kernel.problems import PayloadTooLarge

TRACE, SPAN = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736"), bytes.fromhex("00f067aa0ba902b7")


def request(**span: Any) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    resource = made.resource_spans.add()
    resource.resource.attributes.append(KeyValue(key="service.name", value=AnyValue(string_value="shop")))
    members = {
        "trace_id": TRACE, "span_id": SPAN, "name": "GET /", "kind": 2,
        "start_time_unix_nano": 1_700_000_000_000_000_000, "end_time_unix_nano": 1_700_000_001_500_000_000,
    }  # fmt: skip
    resource.scope_spans.add().spans.add(**{**members, **span})
    return made


def only(body: bytes) -> Any:
    ((service, span),) = read(body)
    assert service == "shop"
    return span


def test_what_the_official_types_write_is_read() -> None:
    values = {
        "text": AnyValue(string_value="é"),
        "yes": AnyValue(bool_value=True),
        "n": AnyValue(int_value=-3),
        "f": AnyValue(double_value=1.5),
        "many": AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), AnyValue(string_value="b")])),
        "map": AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k", value=AnyValue(bool_value=False))])),
        "raw": AnyValue(bytes_value=b"\x00\xff"),
        "nothing": AnyValue(),
    }
    made = request(parent_span_id=b"\x01" * 8, attributes=[KeyValue(key=k, value=v) for k, v in values.items()])
    made.resource_spans[0].scope_spans[0].spans[0].status.code = 2
    made.resource_spans[0].scope_spans[0].spans[0].events.add(name="passed over")
    span = only(made.SerializeToString())
    assert (span.trace_id, span.span_id, span.parent_id) == (TRACE.hex(), SPAN.hex(), "01" * 8)
    assert (span.name, span.kind, span.seconds, span.failed) == ("GET /", "server", 1.5, True)
    assert span.started == 1_700_000_000.0
    assert span.attributes == {
        "text": "é", "yes": True, "n": -3, "f": 1.5, "many": [1, "b"], "map": {"k": False}, "raw": "AP8=",
        "nothing": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"trace_id": b"\x00" * 16},
        {"trace_id": b"x"},
        {"span_id": b""},
        {"parent_span_id": b"12"},
        {"start_time_unix_nano": 0},
        {"end_time_unix_nano": 1},
    ],
    ids=["zeros", "short", "none", "parent", "begin", "end"],
)
def test_wrong_ids_and_times_are_counted(wrong: dict[str, Any]) -> None:
    assert only(request(**wrong).SerializeToString()) is None


def test_an_unknown_kind_and_no_name() -> None:
    span = only(request(kind=77, name="").SerializeToString())
    assert (span.kind, span.name) == ("internal", "unnamed")


def test_what_is_exported_is_read_back() -> None:
    (row,) = rows()
    ((service, back),) = read(protobuf.written([row]))
    ((_, as_json),) = otlp.read(json.dumps(otlp.written([row])).encode())
    assert service == "valhalla"
    assert back == as_json


def test_the_answer_is_what_the_official_types_read() -> None:
    answer = ExportTraceServiceResponse.FromString(protobuf.told(3, "why"))
    assert (answer.partial_success.rejected_spans, answer.partial_success.error_message) == (3, "why")
    assert protobuf.told(0, "why") == b""


def consumed(body: bytes) -> None:
    with contextlib.suppress(Malformed, UnicodeDecodeError):
        list(read(body))


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_garbage_is_refused_in_one_way(body: bytes) -> None:
    consumed(body)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_request_with_a_byte_changed(data: st.DataObject) -> None:
    body = bytearray(request(attributes=[KeyValue(key="a", value=AnyValue(string_value="b"))]).SerializeToString())
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] = data.draw(st.integers(0, 255))
    consumed(bytes(body[: data.draw(st.integers(0, len(body)))]))


def test_depth_and_length_have_ends() -> None:
    deep = AnyValue(int_value=1)
    for _ in range(20):
        deep = AnyValue(array_value=ArrayValue(values=[deep]))
    with pytest.raises(Malformed, match="nested"):
        list(read(request(attributes=[KeyValue(key="deep", value=deep)]).SerializeToString()))
    with pytest.raises(Malformed, match="longer"):
        list(read(b"\x0a\xff\xff\xff\xff\x0f"))
    many = request(attributes=[KeyValue(key=str(n), value=AnyValue(int_value=n)) for n in range(500)])
    assert len(only(many.SerializeToString()).attributes) == 128


def test_what_is_compressed_is_bounded() -> None:
    assert unpacked(gzip.compress(b"spans"), "gzip") == b"spans"
    with pytest.raises(PayloadTooLarge):
        unpacked(gzip.compress(bytes(2**23)), "gzip")
    for body, encoding in (
        (b"x", "gzip"),
        (gzip.compress(b"spans")[:-4], "gzip"),
        (zlib.compress(b"x"), "gzip"),
        (b"x", "br"),
    ):
        with pytest.raises(NotOtlp):
            unpacked(body, encoding)
