"""A request, the job that it submits and what the job does are one trace."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from tests.server.plane import Plane

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
    for content, kind in ((b"\x0a", "application/x-protobuf"), (b"[", "application/json")):
        answer = await admin.post("/v1/traces", content=content, headers={"content-type": kind})
        assert (answer.status_code, answer.json()["code"]) == (400, "not-otlp")
    assert (await team_a.post("/v1/traces", json={})).status_code == 403
    assert (await admin.get(f"/system/traces/{'a' * 32}")).json()["code"] == "trace-not-found"
