"""WebSockets pass the same gate."""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from valhalla.gate import Gate, Hooks, HttpMetrics
from valhalla.kernel.principal import Principal
from valhalla.kit.correlation import correlation_id
from valhalla.kit.http import principal_in


def authenticate(key: str, _address: str | None) -> Principal | None:
    return Principal("ann", "o", frozenset()) if key == "good" else None


async def connect(app: ASGIApp, headers: dict[bytes, bytes], **more: Any) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(
        {"type": "websocket", "path": "/ws", "headers": list(headers.items()), "query_string": b"", **more},
        receive,
        send,
    )
    return sent


async def accepts(scope: Scope, receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    who = principal_in(scope)
    await send({"type": "websocket.send", "text": f"{who.id if who else None} {correlation_id()}"})
    await send({"type": "websocket.close", "code": 1000})


def gate(app: ASGIApp) -> Gate:
    return Gate(app, Hooks(authenticate=authenticate, is_public=lambda _: False, metrics=HttpMetrics()))


async def test_who_has_a_key_is_let_in_and_known() -> None:
    sent = await connect(gate(accepts), {b"authorization": b"Bearer good", b"x-correlation-id": b"c1"})
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert (b"x-correlation-id", b"c1") in sent[0]["headers"]
    assert sent[1]["text"] == "ann c1"


async def test_nobody_is_refused_before_the_application_hears_of_it() -> None:
    [close] = await connect(gate(accepts), {})
    assert (close["type"], close["code"]) == ("websocket.close", 1008)
    start, body = await connect(gate(accepts), {}, extensions={"websocket.http.response": {}})
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert any(name == b"x-correlation-id" for name, _ in start["headers"])
    assert b"unauthenticated" in body["body"]


async def test_what_breaks_closes_the_connection() -> None:
    async def breaks(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        raise ValueError("x")

    sent = await connect(gate(breaks), {b"authorization": b"Bearer good"})
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert sent[-1]["code"] == 1011
