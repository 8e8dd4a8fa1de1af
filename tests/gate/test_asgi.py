"""What every answer that leaves the gate bears, whatever the application or the caller does."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from tests.gate.driving import ask, echo, hello, scope

from valhalla.gate import Bounds, Gate, Hooks, HttpMetrics
from valhalla.gate.contracts import Ended
from valhalla.kit import trace
from valhalla.kit.correlation import correlation_id


async def test_the_context_is_that_of_the_caller_or_fresh() -> None:
    seen: list[tuple[str | None, trace.Trace | None]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((correlation_id(), trace.current()))
        await hello(scope, receive, send)

    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await ask(Gate(app, Hooks()), scope(headers={"X-Correlation-ID": "mine", "traceparent": caller}))
    fresh = await ask(Gate(app, Hooks()), scope())

    assert answer.headers["x-correlation-id"] == seen[0][0] == "mine"
    assert answer.headers["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert caller.split("-")[2] not in answer.headers["traceparent"]
    assert re.fullmatch("r[0-9a-f]{15}", fresh.headers["x-correlation-id"])
    assert seen[0][1] is not None
    assert seen[0][1].parent_id == "b7ad6b7169203331"
    assert fresh.headers["traceparent"] != answer.headers["traceparent"]
    assert (correlation_id(), trace.current()) == (None, None)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
        "0" * 4000,
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nx: y",
    ],
    ids=range(8),
)
async def test_a_malformed_traceparent_begins_a_trace(header: str) -> None:
    answer = await ask(Gate(hello, Hooks()), scope(headers={"traceparent": header}))
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", answer.headers["traceparent"])
    assert "0af7651916cd43dd8448eb211c80319c" not in answer.headers["traceparent"]


async def test_an_unexpected_error_is_told_to_the_operator_alone() -> None:
    failed: list[tuple[BaseException, Ended]] = []

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ValueError("the password is hunter2")

    hooks = Hooks(failed=lambda error, ended: failed.append((error, ended)), metrics=HttpMetrics())
    answer = await ask(Gate(app, hooks), scope("/x", headers={"X-Correlation-ID": "c"}))
    assert (answer.status, answer.problem["code"]) == (500, "internal")
    assert b"hunter2" not in answer.body
    [(error, ended)] = failed
    assert str(error) == "the password is hunter2"
    assert (ended.correlation, ended.status, ended.name) == ("c", 500, "GET")
    assert hooks.metrics is not None
    assert [each.errors for each in hooks.metrics.routes()] == [1]


async def test_what_breaks_after_the_answer_began_ends_it() -> None:
    failed: list[Any] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("x")

    answer = await ask(Gate(app, Hooks(failed=lambda *told: failed.append(told))), scope())
    assert [message["type"] for message in answer.messages] == ["http.response.start"]
    assert len(failed) == 1


async def test_an_application_that_says_nothing() -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        return

    assert (await ask(Gate(app, Hooks()), scope())).problem["code"] == "internal"


async def test_a_head_is_a_get_without_its_body() -> None:
    answer = await ask(Gate(hello, Hooks()), scope(method="HEAD"))
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "5")


async def test_one_correlation_id_also_if_the_application_sends_one() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-correlation-id", b"other")]})
        await send({"type": "http.response.body", "body": b""})

    answer = await ask(Gate(app, Hooks()), scope(headers={"X-Correlation-ID": "mine"}))
    assert [value for name, value in answer.start["headers"] if name == b"x-correlation-id"] == [b"mine"]


async def test_bodies_are_counted_whatever_their_headers_say() -> None:
    gate = Gate(echo, Hooks(), Bounds(max_body=10))
    for headers in ({"Content-Length": "11"}, {"Content-Length": "1"}, {"Transfer-Encoding": "chunked"}):
        answer = await ask(gate, scope(method="POST", headers=headers), [b"x" * 6, b"x" * 5])
        assert (answer.status, answer.problem["code"]) == (413, "payload-too-large"), headers
    answer = await ask(gate, scope(method="POST", headers={"Content-Length": "10"}), [b"x" * 6, b"x" * 4])
    assert (answer.status, answer.body) == (200, b"10")
    second = await ask(gate, scope(method="POST", http_version="2"), [b"x" * 6, b"x" * 5])
    assert second.status == 413


async def test_a_body_that_never_ends_is_not_waited_for() -> None:
    gate = Gate(echo, Hooks(), Bounds(body_timeout=0.05))
    answer = await ask(gate, scope(method="POST", headers={"Content-Length": "9"}), [b"x"], stall=True)
    assert (answer.status, answer.problem["code"]) == (408, "request-timeout")
    assert answer.headers["connection"] == "close"


async def test_what_an_application_makes_of_a_broken_body_is_not_sent() -> None:
    async def swallows(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            while (await receive()).get("more_body"):
                pass
        except Exception:  # noqa: BLE001 - as careless applications do
            assert (await receive())["type"] == "http.disconnect"
        await hello(scope, receive, send)

    gate = Gate(swallows, Hooks(), Bounds(max_body=3))
    assert (await ask(gate, scope(method="POST", headers={"Content-Length": "3"}), [b"xx", b"xx"])).status == 413


async def test_a_long_answer_may_wait_for_its_end() -> None:
    async def streams(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.body", "body": b"end"})

    gate = Gate(streams, Hooks(), Bounds(body_timeout=0.01))
    assert (await ask(gate, scope(method="POST", headers={"Content-Length": "1"}), [b"x"])).body == b"end"


async def test_spans_are_told_when_sampled_slow_or_failed() -> None:
    async def breaks(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ValueError

    for app, bounds, expected in (
        (hello, Bounds(sample=1.0), 1),
        (hello, Bounds(sample=0.0), 0),
        (hello, Bounds(sample=0.0, slow=0.0), 1),
        (breaks, Bounds(sample=0.0), 1),
    ):
        spans: list[Ended] = []
        answer = await ask(Gate(app, Hooks(spans=spans.append), bounds), scope())
        assert len(spans) == expected
        for span in spans:
            assert answer.headers["traceparent"][3:52] == f"{span.trace_id}-{span.span_id}"
            assert span.seconds >= 0


async def test_a_nul_in_the_address() -> None:
    for asked in (scope("/a\x00"), scope(query_string=b"a=%00")):
        assert (await ask(Gate(hello, Hooks()), asked)).problem["code"] == "invalid-request"


async def test_a_cancelled_request_is_told_and_cancelled() -> None:
    lines: list[tuple[object, ...]] = []

    async def hangs(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.sleep(3600)

    task = asyncio.create_task(ask(Gate(hangs, Hooks(log=lambda *line, **_: lines.append(line))), scope()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lines[0][2] == 499
