"""What is counted and written of each request."""

from __future__ import annotations

import asyncio
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from starlette.types import Receive, Scope, Send
from tests.gate.driving import ask, scope

from valhalla.gate import AccessLog, Bounds, Gate, Hooks, HttpMetrics
from valhalla.gate.contracts import Ended
from valhalla.gate.metrics import _MOST
from valhalla.kit.waiting import note_waited, take_waited


def test_quantiles_and_buckets() -> None:
    metrics = HttpMetrics()
    for number in range(100):
        metrics.observe("GET", "/a/{x}", 200 if number else 503, 0.002 if number < 98 else 2.0)
    [route] = metrics.routes()
    assert (route.method, route.route, route.requests, route.errors) == ("GET", "/a/{x}", 100, 1)
    assert route.p50 is not None
    assert 0.001 < route.p50 <= 0.0025
    assert route.p99 is not None
    assert 1.5 < route.p99 <= 2.5
    registry = CollectorRegistry()
    registry.register(metrics)
    text = generate_latest(registry).decode()
    assert 'valhalla_http_requests_total{method="GET",status="2xx"} 99.0' in text
    assert 'valhalla_http_request_seconds_bucket{le="0.0025"} 98.0' in text
    assert 'valhalla_http_request_seconds_bucket{le="1.0"} 98.0' in text
    assert 'valhalla_http_request_seconds_bucket{le="+Inf"} 100.0' in text
    assert 'valhalla_http_route_requests_total{method="GET",route="/a/{x}",status="5xx"} 1.0' in text
    assert 'valhalla_http_route_seconds_bucket{le="2.5",method="GET",route="/a/{x}"} 100.0' in text


async def test_who_follows_is_counted_apart() -> None:
    async def stream(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        seen.append(text())
        await asyncio.sleep(0.15)
        await send({"type": "http.response.body", "body": b"data: x\n\n"})

    async def poll(_scope: Scope, _receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.15)
        note_waited(0.15)
        await send({"type": "http.response.start", "status": 304, "headers": []})
        await send({"type": "http.response.body"})

    def text() -> str:
        return generate_latest(registry).decode()

    seen: list[str] = []
    metrics, spans = HttpMetrics(), list[Ended]()
    registry = CollectorRegistry()
    registry.register(metrics)
    for app in (stream, poll):
        gate = Gate(app, Hooks(metrics=metrics, spans=spans.append), Bounds(slow=0.1, sample=0.0))
        assert (await ask(gate, scope("/x"))).status in (200, 304)
    [route] = metrics.routes()
    assert (route.requests, route.p99 is not None and route.p99 < 0.1) == (2, True)
    assert spans == []
    assert 'valhalla_http_streams_open{method="GET",route=""} 1.0' in seen[0]
    assert 'valhalla_http_streams_open{method="GET",route=""} 0.0' in text()
    assert 'valhalla_http_streams_total{method="GET",route=""} 1.0' in text()
    assert 'valhalla_http_stream_seconds_total{method="GET",route=""} 0.1' in text()
    assert take_waited() == 0.0


def test_the_number_of_series_is_bounded() -> None:
    metrics = HttpMetrics()
    for number in range(_MOST + 500):
        metrics.observe(f"BREW{number}", f"/{number}", 200, 0.1)
    assert len(list(metrics.routes())) <= _MOST + 10
    assert sum(route.requests for route in metrics.routes()) == _MOST + 500


@given(st.text(max_size=30), st.text(max_size=600), st.integers(0, 999), st.floats(0, 1e6))
def test_a_line_is_json_whatever_is_asked(method: str, path: str, status: int, seconds: float) -> None:
    stream = io.BytesIO()
    AccessLog(stream)(method, path, status, seconds, "c", None)
    [line] = stream.getvalue().splitlines()
    document = json.loads(line)
    assert document["status"] == status
    assert len(document["path"]) <= 520


def test_what_a_line_says() -> None:
    stream = io.BytesIO()
    AccessLog(stream)("GET", "/a", 200, 0.0123456, "c", "ann", trace_id="t", address="192.0.2.1")
    document = json.loads(stream.getvalue())
    assert document.pop("timestamp").endswith("Z")
    assert document == {
        "level": "info",
        "event": "request",
        "method": "GET",
        "path": "/a",
        "status": 200,
        "ms": 12.346,
        "correlation_id": "c",
        "trace_id": "t",
        "address": "192.0.2.1",
        "principal": "ann",
    }


def test_a_line_that_cannot_be_written_is_counted() -> None:
    class Full(io.BytesIO):
        def write(self, _data: object) -> int:
            raise BrokenPipeError

    log = AccessLog(Full())
    log("GET", "/", 200, 0.1, "c", None)
    closed = io.BytesIO()
    closed.close()
    other = AccessLog(closed)
    other("GET", "/", 200, 0.1, "c", None)
    assert (log.lost, other.lost) == (1, 1)


@pytest.mark.parametrize("path", ["/x/vh_local_" + "a" * 60, "/x/https://u:p4ss@h/y", "/" + "x" * 5000])
def test_a_path_with_a_secret_is_not_written(path: str) -> None:
    stream = io.BytesIO()
    AccessLog(stream)("GET", path, 200, 0.1, "c", None)
    assert b"a" * 60 not in stream.getvalue()
    assert b"p4ss" not in stream.getvalue()
    assert len(stream.getvalue()) < 1000
