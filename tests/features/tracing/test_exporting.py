"""Spans go to a collector as JSON or protobuf, each once."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

import pytest
from tests.features.tracing.recording import rows

from valhalla.features.observability.tracing import otlp, protobuf
from valhalla.features.observability.tracing.export import Exporter
from valhalla.kernel.problems import Unavailable


def test_what_is_exported_as_json_is_read_back() -> None:
    (row,) = rows()
    body = json.dumps(otlp.written([row])).encode()
    ((service, back),) = otlp.read(body)
    assert back is not None
    assert (service, back.trace_id, back.span_id, back.name) == ("valhalla", row["trace_id"], row["span_id"], "job é")
    assert (back.kind, back.failed) == ("consumer", True)
    assert abs(back.started - row["started_at"].timestamp()) < 1e-3
    assert back.attributes == {"n": -3, "f": 1.5, "yes": True, "many": "[1,2]"}


def fields(data: bytes) -> list[tuple[int, Any]]:
    """A reader of protobuf's wire format, written for this test."""

    def varint(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = data[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not byte & 0x80:
                return value, at

    found: list[tuple[int, Any]] = []
    at = 0
    while at < len(data):
        tag, at = varint(at)
        value: Any
        if tag & 7 == 0:
            value, at = varint(at)
        elif tag & 7 == 1:
            value, at = data[at : at + 8], at + 8
        else:
            size, at = varint(at)
            value, at = data[at : at + size], at + size
        found.append((tag >> 3, value))
    return found


def test_what_is_exported_as_protobuf_is_what_was_meant() -> None:
    (row,) = rows()
    ((_, resource),) = fields(protobuf.written([row]))
    scope = dict(fields(dict(fields(resource))[2]))
    one = fields(scope[2])
    values = dict(one)
    assert (values[1].hex(), values[2].hex(), values[5].decode(), values[6]) == (
        row["trace_id"],
        row["span_id"],
        "job é",
        5,
    )
    begin, end = (struct.unpack("<Q", values[number])[0] for number in (7, 8))
    assert (begin, end) == otlp.nanoseconds(row)
    pairs = [dict(fields(value)) for number, value in one if number == 9]
    found = {pair[1].decode(): fields(pair[2])[0] for pair in pairs}
    assert found["n"] == (3, 2**64 - 3)
    assert found["f"] == (4, struct.pack("<d", 1.5))
    assert found["yes"] == (2, 1)
    assert found["many"] == (1, b"[1,2]")
    assert fields(values[15]) == [(3, 2)]


@pytest.mark.parametrize("as_protobuf", [True, False], ids=["protobuf", "json"])
async def test_a_collector_gets_every_span_once_it_answers(*, as_protobuf: bool) -> None:
    answers = [503, 200]
    got: list[tuple[bytes, bytes]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(dict(line.lower().split(b": ") for line in head.split(b"\r\n")[1:-2])[b"content-length"])
        got.append((head.lower(), await reader.readexactly(size)))
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % answers.pop(0))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    exporter = Exporter(f"http://127.0.0.1:{port}/", headers="x-team=a, y=b", as_protobuf=as_protobuf)
    try:
        for row in rows():
            exporter.batches.put(row)
        with pytest.raises(Unavailable):
            await exporter.batches.flush()
        await exporter.batches.flush()
    finally:
        await exporter.close()
        server.close()
    head, content = got[1]
    assert head.startswith(b"post /v1/traces ")
    assert b"x-team: a" in head
    assert b"job" in content
    assert got[0][1] == content
    assert exporter.batches.counts() == {"waiting": 0, "written": 1, "dropped": 0}
