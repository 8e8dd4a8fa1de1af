"""Spans nest, are carried, and are kept when they matter; traces become trees whatever was sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import Servers
from tests.servers import migrated_database

from valhalla.features.observability.tracing import otlp, protobuf, rules
from valhalla.features.observability.tracing.contracts import Filter, Node, Stored
from valhalla.features.observability.tracing.errors import NoSuchTrace, NotOtlp
from valhalla.features.observability.tracing.export import Exporter
from valhalla.features.observability.tracing.recorder import Tracer
from valhalla.features.observability.tracing.service import TraceService
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Forbidden, Invalid, Unavailable
from valhalla.kit.db import Database
from valhalla.kit.spans import Local, local, rooted, span
from valhalla.kit.trace import current, new_trace, parse, render, traced

ADA = Principal("client-1", "ada", frozenset({"traces:read", "telemetry"}))


@pytest.fixture(scope="module")
def migrated(servers: Servers) -> Iterator[str]:
    with migrated_database(servers.superuser_url, "tracing") as url:
        yield url


@pytest.fixture
async def db(migrated: str) -> AsyncIterator[Database]:
    database = Database(migrated)
    yield database
    await database.close()


def tracer(db: Any = None, **bounds: Any) -> Tracer:
    return Tracer(db, **{"share": 0.0, "slow": timedelta(seconds=60), **bounds})


def test_outside_of_a_root_a_span_is_nothing() -> None:
    with span("x") as one:
        one.note(a=1)
        assert (local(), current()) == (None, None)


async def test_spans_nest_also_across_tasks() -> None:
    kept = tracer(share=1.0)

    async def inner() -> None:
        with span("inner"):
            await asyncio.sleep(0)

    with rooted(kept, "job x", None):
        with span("outer", kind="client", a=1):
            await asyncio.create_task(inner())
        with span("after"):
            pass
    rows = {row["name"]: row for row in (rules.row(each) for each in kept.batches._waiting)}
    root = rows["job x"]
    assert {row["trace_id"] for row in rows.values()} == {root["trace_id"]}
    assert rows["outer"]["parent_id"] == rows["after"]["parent_id"] == root["span_id"]
    assert rows["inner"]["parent_id"] == rows["outer"]["span_id"]
    assert (root["entry"], rows["outer"]["entry"], rows["outer"]["kind"]) == (True, False, "client")
    assert (local(), current()) == (None, None)


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [(None, False), (ValueError("x"), True), (Unavailable("p", "x"), True), (Invalid("x"), False)],
    ids=["fine", "failed", "problem-of-ours", "refusal"],
)
def test_what_failed_is_kept_and_the_rest_only_if_it_was_drawn(error: Exception | None, *, is_kept: bool) -> None:
    for inside in (True, False):
        kept = tracer()

        def work(inside: bool) -> None:
            if inside:
                with span("inner"):
                    if error:
                        raise error
            elif error:
                raise error

        with contextlib.suppress(Exception), rooted(kept, "job", None):
            work(inside)
        assert bool(len(kept.batches)) is is_kept
    drawn = tracer(share=0.5, draw=lambda: 0.4)
    with rooted(drawn, "job", None):
        pass
    assert len(drawn.batches) == 1


def test_what_was_slow_is_kept_and_the_caller_decides_for_its_trace() -> None:
    kept = tracer(slow=timedelta(0))
    with rooted(kept, "job", None):
        pass
    assert len(kept.batches) == 1
    for sampled in (True, False):
        caller = new_trace(sampled=sampled)
        kept = tracer()
        with rooted(kept, "job", render(caller)):
            here = current()
            assert here is not None
            assert (here.trace_id, here.parent_id, here.sampled) == (caller.trace_id, caller.span_id, sampled)
        assert len(kept.batches) == sampled


def test_without_a_place_for_spans_the_trace_is_carried_on() -> None:
    caller = new_trace()
    with rooted(None, "job", render(caller)):
        here = current()
        assert here is not None
        assert here.trace_id == caller.trace_id
    with rooted(None, "job", "garbage"):
        assert current() is None


def test_a_request_with_many_spans_stays_small() -> None:
    kept = tracer(share=1.0)
    with rooted(kept, "job", None):
        where = local()
        for _ in range(250):
            with span("x"):
                pass
    assert isinstance(where, Local)
    assert (len(where.spans), where.left_out, len(kept.batches)) == (200, 50, 201)


ids = st.integers(1, 6).map(lambda n: f"{n:016x}")


def stored(span_id: str, parent: str | None, second: int) -> Stored:
    at = datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)
    return Stored(at, "t", span_id, parent, False, "s", span_id, "internal", "ok", at, 1.0, None, None, None)


@given(st.lists(st.builds(stored, ids, ids | st.none(), st.integers(0, 9))))
def test_a_tree_holds_every_span_once(spans: list[Stored]) -> None:
    found: list[str] = []

    def walk(node: Node) -> None:
        found.append(node.span.span_id)
        for child in node.children:
            assert child.span.parent_id == node.span.span_id
            walk(child)

    for root in rules.tree(spans):
        walk(root)
    assert sorted(found) == sorted({each.span_id for each in spans})


def test_a_chain_of_thousands_is_no_recursion() -> None:
    chain = [stored(f"{n:016x}", f"{n - 1:016x}", 0) for n in range(1, 5000)]
    assert len(rules.tree(chain)) == 1


async def test_traces_are_listed_and_shown(db: Database) -> None:
    kept = tracer(db, share=1.0)
    service = TraceService(db, kept, clock=Clock())
    with rooted(kept, "job shop", None, token="hunter2"), span("guard pay"):
        here = current()
    with pytest.raises(ValueError, match="x"), rooted(kept, "job bad", None):
        raise ValueError("x")
    await kept.batches.flush()
    assert here is not None
    trace = await service.get(ADA, here.trace_id)
    assert (trace.spans, len(trace.roots)) == (2, 1)
    (root,) = trace.roots
    assert (root.span.name, root.span.attributes) == ("job shop", {"token": "***"})
    assert [node.span.name for node in root.children] == ["guard pay"]

    async def names(**wanted: Any) -> list[str]:
        return [each.name for each in (await service.page(ADA, Filter(**wanted), limit=50, cursor=None)).items]

    assert sorted(await names()) == ["job bad", "job shop"]
    assert await names(status="error") == ["job bad"]
    assert await names(name="job shop", status="ok", slower_than=0.0) == ["job shop"]
    assert await names(slower_than=5.0) == []
    first = await service.page(ADA, Filter(), limit=1, cursor=None)
    second = await service.page(ADA, Filter(), limit=1, cursor=first.next)
    assert {first.items[0].name, second.items[0].name} == {"job bad", "job shop"}
    assert second.next is None
    with pytest.raises(NoSuchTrace):
        await service.get(ADA, "f" * 32)
    with pytest.raises(Forbidden):
        await service.get(Principal("x", "x", frozenset()), here.trace_id)


def rows() -> list[dict[str, Any]]:
    kept = tracer(share=1.0)
    with pytest.raises(ValueError, match="x"), rooted(kept, "job é", None, n=-3, f=1.5, yes=True, many=[1, 2]):
        raise ValueError("x")
    return [rules.row(each) for each in kept.batches._waiting]


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


async def test_clients_spans_are_taken_and_wrong_ones_counted(db: Database) -> None:
    kept = tracer(db)
    service = TraceService(db, kept, clock=Clock())
    trace = new_trace()
    good = {
        "traceId": trace.trace_id.upper(),
        "spanId": trace.span_id,
        "name": "GET /",
        "kind": 2,
        "startTimeUnixNano": "1544712660000000000",
        "endTimeUnixNano": 1544712661000000000,
        "attributes": [{"key": "n", "value": {"intValue": "7"}}, {"key": "api_key", "value": {"stringValue": "k"}}],
        "status": {"code": "STATUS_CODE_ERROR"},
        "unknown": [],
    }
    wrong = [{**good, "traceId": "0" * 32}, {**good, "spanId": "x"}, {**good, "endTimeUnixNano": "1"}, {}]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [good, *wrong]}]}]}
    assert service.take(ADA, json.dumps(body).encode()) == 4
    await kept.batches.flush()
    (root,) = (await service.get(ADA, trace.trace_id)).roots
    assert (root.span.service, root.span.principal, root.span.status, root.span.seconds) == (
        *("shop", "client-1", "error", 1.0),
    )
    assert root.span.attributes == {"n": 7, "api_key": "***"}
    assert root.span.started_at.year == 2018
    for bad in (b"", b"[]", b'{"resourceSpans": 3}', b"\xff", b'{"resourceSpans":' + b"[" * 100_000):
        with pytest.raises(NotOtlp):
            service.take(ADA, bad)
    with pytest.raises(Forbidden):
        service.take(Principal("x", "x", frozenset({"traces:read"})), b"{}")


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


def test_a_trace_is_handed_on_as_w3c_has_it() -> None:
    place = new_trace(sampled=False)
    with traced(place):
        assert parse(render(place)) == place
