"""A request, the job that it submits and what the job does are one trace."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane, refused
from tests.server.serving import serving

from valhalla.kit.spans import span
from valhalla.kit.trace import new_trace, render


async def test_a_trace_goes_from_the_request_through_its_job(plane: Plane, admin: httpx.AsyncClient) -> None:
    done = asyncio.Event()
    roots: list[dict[str, Any]] = []

    @plane.runtime.jobs.job("traced.work", queue="valhalla")
    async def work() -> None:
        with span("inside"):
            done.set()

    trace = new_trace()
    headers = {"traceparent": render(trace), "X-Correlation-ID": "traced-request"}
    answer = await admin.post("/system/jobs", json={"name": "traced.work"}, headers=headers)
    assert answer.status_code in (201, 202), answer.text
    async with asyncio.timeout(20):
        await done.wait()
        names: set[str] = set()
        while not {"POST /system/jobs", "job traced.work", "inside"} <= names:
            await plane.runtime.features.tracing.tracer.batches.flush()
            shown = await admin.get(f"/system/traces/{trace.trace_id}")
            roots = shown.json()["roots"] if shown.status_code == 200 else []
            names = set(_names(roots))
            await asyncio.sleep(0.05)
    (root,) = roots
    assert (root["name"], root["parent_id"], root["correlation_id"]) == (
        *("POST /system/jobs", trace.span_id, "traced-request"),
    )
    listed = (await admin.get("/system/traces", params={"correlation_id": "traced-request"})).json()
    assert [each["trace_id"] for each in listed["items"]] == [trace.trace_id]


def _names(nodes: list[dict[str, Any]]) -> list[str]:
    return [name for node in nodes for name in (node["name"], *_names(node["children"]))]


async def test_spans_are_received_as_otlp(admin: httpx.AsyncClient, team_a: httpx.AsyncClient) -> None:
    assert (await admin.post("/v1/traces", json={"resourceSpans": []})).json() == {}
    wrong = {"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "x"}]}]}]}
    assert (await admin.post("/v1/traces", json=wrong)).json()["partialSuccess"]["rejectedSpans"] == "1"
    for content, kind in ((b"\x0a", "application/x-protobuf"), (b"[", "application/json"), (b"", "text/plain")):
        answer = await admin.post("/v1/traces", content=content, headers={"content-type": kind})
        assert (answer.status_code, answer.json()["code"]) == (400, "not-otlp")
    large = gzip.compress(bytes(2**23))
    headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
    refused(await admin.post("/v1/traces", content=large, headers=headers), 413, "payload-too-large")
    assert (await team_a.post("/v1/traces", json={})).status_code == 403
    assert (await admin.get(f"/system/traces/{'a' * 32}")).json()["code"] == "trace-not-found"


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
async def test_the_stock_exporter_is_understood(
    plane: Plane, admin: httpx.AsyncClient, issue: Issue, *, compressed: bool
) -> None:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    key = (await issue("http-otlp", "telemetry"))["key"]

    def export(place: str) -> str:
        exporter = OTLPSpanExporter(
            f"http://{place}/v1/traces",
            headers={"Authorization": f"Bearer {key}"},
            compression=Compression.Gzip if compressed else Compression.NoCompression,
        )
        provider = TracerProvider(resource=Resource({"service.name": "shop"}))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("x")
        with tracer.start_as_current_span("outer") as outer, tracer.start_as_current_span("inner") as inner:
            inner.set_attribute("items", [1, 2])
        provider.shutdown()
        return f"{outer.get_span_context().trace_id:032x}"

    async with serving(plane.app) as place:
        trace_id = await asyncio.to_thread(export, place)
    await plane.runtime.features.tracing.tracer.batches.flush()
    (root,) = (await admin.get(f"/system/traces/{trace_id}")).json()["roots"]
    assert (root["name"], root["service"]) == ("outer", "shop")
    assert [(each["name"], each["attributes"]) for each in root["children"]] == [("inner", {"items": [1, 2]})]
