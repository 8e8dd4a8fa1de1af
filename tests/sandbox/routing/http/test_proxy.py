"""Requests through the proxy: each where it belongs, as it was sent, and nothing else."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from tests.sandbox.routing.http.conftest import Proxied


async def test_a_developer_gets_exactly_the_requests_of_their_test_user(proxied: Proxied, key: str) -> None:
    """Two sandboxes, many users at once, while one of the claims comes and goes."""
    scene = await proxied()
    claims = scene.bus.claims()
    alice, bob = f"{key}a", f"{key}b"
    await scene.bus.claim(claims, f"x-user={alice}", scene.first.name, kind="header")
    await scene.bus.claim(claims, f"x-user={bob}", scene.second.name, kind="header")

    async def ask(user: str, number: int) -> tuple[str, str]:
        _, text, _ = await scene.get(f"/{user}/{number}?q=1", headers={"X-User": user})
        return user, text

    users = [alice, bob, "carol", f"{alice}x", alice.upper(), ""]
    found = await asyncio.gather(*(ask(users[number % 6], number) for number in range(120)))
    homes = {alice: scene.first.name, bob: scene.second.name}
    assert Counter(found) == Counter({(user, homes.get(user, "production")): 20 for user in users})
    assert {request.path.split("/")[1] for request in scene.first.asked} == {alice}
    assert {request.path.split("/")[1] for request in scene.second.asked} == {bob}
    assert not {alice, bob} & {request.path.split("/")[1] for request in scene.production.asked}

    scene.bus.owners.pop(("header", f"x-user={alice}"))
    owned = scene.bus.owned("header", f"x-user={alice}", scene.first.name)
    await claims.release("header", f"x-user={alice}", scene.first.name, unread="drain", owns=owned)
    # from when the release returns on
    assert [(await ask(alice, number))[1] for number in range(5)] == ["production"] * 5
    assert (await ask(bob, 1))[1] == scene.second.name
    await claims.close()


async def test_a_request_arrives_as_it_was_sent(proxied: Proxied) -> None:
    scene = await proxied()
    body = gzip.compress(b"x" * 1000)
    status, _, _ = await scene.get(
        "/a%2Fb/../c//d?e=%20&f",
        "PATCH",
        data=body,
        headers=scene.key(scene.first)
        | {"Content-Encoding": "gzip", "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "baggage": "a=b,c=d",
           "X-Forwarded-For": "1.2.3.4", "Connection": "x-mine", "X-Mine": "1", "Cookie": "a=b; c=d"},
    )  # fmt: skip
    (asked,) = scene.first.asked
    assert (status, asked.method, asked.raw_path) == (200, "PATCH", "/a%2Fb/../c//d?e=%20&f")
    assert scene.first.bodies == [b"x" * 1000]
    named = asked.headers
    assert (named["baggage"], named["traceparent"][:4], named["Cookie"]) == ("a=b,c=d", "00-1", "a=b; c=d")
    assert (named["X-Forwarded-For"], named["Via"]) == ("127.0.0.1", "1.1 valhalla-test")
    assert named["Host"] == named["X-Forwarded-Host"] == f"127.0.0.1:{scene.port}"
    assert named.getall("Content-Length") == [str(len(body))]
    assert not {"X-Mine", "Valhalla-Routing-Key", "Connection", "Transfer-Encoding"} & named.keys()
    assert scene.production.asked == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [200, 204, 304, 404, 503])
async def test_an_answer_arrives_as_it_was_given(proxied: Proxied, method: str, status: int) -> None:
    """Production's own failures too: nothing is hidden, and nothing is repeated."""
    scene = await proxied()

    async def answer(_: web.Request) -> web.StreamResponse:
        made = web.Response(status=status, body=b"" if status in (204, 304) else gzip.compress(b"hello"))
        made.headers.extend([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Encoding", "gzip"), ("X-A", "é")])
        made.headers["Keep-Alive"] = "timeout=5"
        return made

    async def untyped(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        request.transport.close()
        await asyncio.sleep(10)
        return web.Response()

    scene.first.answer = untyped
    _, text, plain = await scene.get(headers=scene.key(scene.first))
    assert (text, "Content-Type" in plain.headers) == ("hi", False)

    scene.production.answer = answer
    found, _, whole = await scene.get(method=method) if method == "HEAD" or status in (204, 304) else (0, "", None)
    if whole is None:
        async with scene.client.get(scene.url) as whole:
            found, body = whole.status, await whole.read()
            assert gzip.decompress(body) == b"hello"
    assert found == status
    assert whole.headers.getall("Set-Cookie") == ["a=1", "b=2"]
    assert "Keep-Alive" not in whole.headers
    assert "valhalla-routed" not in whole.headers
    assert len(scene.production.asked) == 1


async def test_a_redirect_is_the_callers_to_follow(proxied: Proxied) -> None:
    scene = await proxied()

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "http://169.254.169.254/"})

    scene.first.answer = answer
    status, _, whole = await scene.get(headers=scene.key(scene.first), allow_redirects=False)
    assert (status, whole.headers["Location"]) == (302, "http://169.254.169.254/")


async def test_both_ways_flow_piece_by_piece(proxied: Proxied) -> None:
    """The first piece of a body is there before the last is sent, and so is the first of an answer."""
    scene = await proxied()
    seen, told = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        assert await request.content.readany() == b"first"
        seen.set()
        assert await request.content.read() == b"last"
        made = web.StreamResponse()
        await made.prepare(request)
        await made.write(b"one")
        await told.wait()
        await made.write(b"two")
        return made

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await seen.wait()
        yield b"last"

    scene.first.answer = answer
    async with scene.client.post(scene.url, data=body(), headers=scene.key(scene.first)) as whole:
        assert await whole.content.readany() == b"one"
        told.set()
        assert await whole.content.read() == b"two"


async def test_a_socket_passes_with_its_protocol(proxied: Proxied) -> None:
    scene = await proxied()

    async def echo(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("v2",))
        await socket.prepare(request)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                await socket.send_bytes(message.data[::-1])
            elif message.data == "end":
                await socket.close(code=4001, message=b"over")
        return socket

    scene.first.answer = echo
    async with scene.client.ws_connect(scene.url, headers=scene.key(scene.first), protocols=("v1", "v2")) as socket:
        assert socket.protocol == "v2"
        big = bytes(range(256)) * 1000
        await socket.send_bytes(big)
        assert (await socket.receive(timeout=5)).data == big[::-1]
        await socket.send_str("end")
        message = await socket.receive(timeout=5)
        assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 4001, "over")
    # one that answers, and speaks no WebSocket
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await scene.client.ws_connect(scene.url)
    assert caught.value.status >= 400


async def test_what_is_larger_than_the_proxy_passes_on(proxied: Proxied) -> None:
    """With a length that says so, and with one that does not."""
    scene = await proxied(max_body=1000)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    for data in (b"x" * 1001, body()):
        async with scene.client.post(scene.url, data=data) as whole:
            assert (whole.status, (await whole.json())["code"]) == (413, "request-too-large")
    assert scene.production.bodies == []
    assert (await scene.get(method="POST", data=b"x" * 1000))[0] == 200


async def test_what_a_caller_writes_into_a_header_stays_in_it(proxied: Proxied) -> None:
    """Two requests on one connection are two, whatever is in the first."""
    scene = await proxied()
    sent = b"GET /1 HTTP/1.1\r\nHost: h\r\nX-A: %0d%0aX-User:%20alice\r\n\r\n"
    sent += b"GET /2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    found = await scene.raw(sent, answers=2)
    assert found.count(b"HTTP/1.1 200 OK") == 2
    assert [request.path for request in scene.production.asked] == ["/1", "/2"]
    assert scene.production.asked[0].headers["X-A"] == "%0d%0aX-User:%20alice"
    assert "X-User" not in scene.production.asked[0].headers


async def test_who_waits_to_be_told_to_send_is_told(proxied: Proxied) -> None:
    scene = await proxied()
    sent = b"POST /e HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.port)
    writer.write(sent)
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"ok")
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 200")
    assert scene.production.bodies == [b"ok"]
    writer.close()
