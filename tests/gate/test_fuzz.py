"""Whatever a server hands over: the gate never raises, and never answers without a correlation id."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from valhalla.gate import Bounds, Cors, Gate, Hooks, HttpMetrics
from valhalla.gate.install import install
from valhalla.gate.rules import is_public, networks
from valhalla.kernel.principal import Principal

NAMES = [
    *(b"authorization", b"x-correlation-id", b"traceparent", b"content-length", b"transfer-encoding", b"origin"),
    *(b"access-control-request-method", b"access-control-request-headers", b"x-forwarded-for", b"forwarded", b"host"),
]
HEADERS = st.lists(st.tuples(st.sampled_from(NAMES) | st.binary(max_size=12), st.binary(max_size=60)), max_size=8)
SCOPES = st.fixed_dictionaries(
    {
        "type": st.just("http"),
        "method": st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "DELETE"]) | st.text(max_size=8),
        "path": st.sampled_from(["/live", "/problems/x", "/a"]) | st.text(max_size=40),
        "headers": HEADERS,
    },
    optional={
        "http_version": st.sampled_from(["1.0", "1.1", "2", "3"]),
        "query_string": st.binary(max_size=40),
        "client": st.none() | st.tuples(st.text(max_size=20), st.integers(0, 65535)),
        "root_path": st.text(max_size=10),
        "extensions": st.just({}),
    },
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["http.request", "http.disconnect"])},
        optional={"body": st.binary(max_size=40), "more_body": st.booleans()},
    ),
    max_size=4,
)
ACTS = st.sampled_from(["answer", "read", "raise", "nothing", "half", "twice", "raise after"])
ID = re.compile(r"[A-Za-z0-9._:@/+=-]{1,128}")


def application(act: str) -> Any:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        if act == "read":
            while (await receive()).get("more_body", False):
                pass
        if act == "raise":
            raise ValueError("x")
        if act == "nothing":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if act == "raise after":
            raise ValueError("x")
        if act != "half":
            await send({"type": "http.response.body", "body": b"x"})
        if act == "twice":
            await send({"type": "http.response.start", "status": 500, "headers": []})

    return app


async def run(gate: Any, asked: dict[str, Any], incoming: list[Message]) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        # as servers do
        if message["type"] == "http.response.start" and sent:
            raise RuntimeError("the answer has begun")
        if message["type"] == "http.response.start":
            assert isinstance(message["status"], int)
            for name, value in message["headers"]:
                assert isinstance(name, bytes)
                assert isinstance(value, bytes)
                assert b"\r" not in value
                assert b"\n" not in value
        sent.append(message)

    await gate(asked, receive, send)
    return sent


def authenticate(key: str, _address: str | None) -> Principal | None:
    return Principal("p", "o", frozenset()) if key.startswith("k") else None


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(SCOPES, MESSAGES, ACTS, st.booleans())
def test_any_scope(asked: dict[str, Any], incoming: list[Message], act: str, installed: bool) -> None:
    lines: list[object] = []
    if installed:
        gate: Any = install(
            application(act), access_log=lambda *line, **_: lines.append(line), cors_origins=["*"], max_body_bytes=50
        )
    else:
        hooks = Hooks(
            authenticate=authenticate,
            is_public=is_public,
            metrics=HttpMetrics(),
            log=lambda *line, **_: lines.append(line),
            cors=Cors(["https://a.example"]),
        )
        gate = Gate(application(act), hooks, Bounds(max_body=50, trusted=networks(["10.0.0.0/8"])))

    sent = asyncio.run(run(gate, asked, incoming))

    assert sent, "somebody waits for an answer"
    start = sent[0]
    assert start["type"] == "http.response.start"
    [correlation] = [value.decode() for name, value in start["headers"] if name == b"x-correlation-id"]
    assert ID.fullmatch(correlation)
    assert len(lines) == 1
