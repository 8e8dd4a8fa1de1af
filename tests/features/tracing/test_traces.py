"""Traces become trees whatever was sent, are listed and shown, and clients add to them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import Servers
from tests.features.tracing.recording import tracer
from tests.servers import migrated_database

from valhalla.features.observability.tracing import rules
from valhalla.features.observability.tracing.contracts import Filter, Node, Stored
from valhalla.features.observability.tracing.errors import NoSuchTrace, NotOtlp
from valhalla.features.observability.tracing.service import TraceService
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Forbidden
from valhalla.kit.db import Database
from valhalla.kit.spans import rooted, span
from valhalla.kit.trace import current, new_trace

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
