"""Requests through the proxy: each where it belongs, as it was sent, and nothing else."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from tests.sandbox.routing.http.conftest import Proxied, Scene

from valhalla.sandbox.routing.http.proxy import server
from valhalla.sandbox.routing.http.proxy.connecting import Patience
from valhalla.sandbox.routing.http.proxy.metrics import ProxyMetrics


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


async def test_an_upstream_that_is_down_is_named_and_production_not_asked(
    proxied: Proxied, key: str, unused_tcp_port: int
) -> None:
    scene = await proxied()
    claims = scene.bus.claims()
    await scene.bus.claim(claims, f"x-user={key}", scene.first.name, kind="header")
    scene.connect(scene.first, url=f"http://127.0.0.1:{unused_tcp_port}")
    status, _, whole = await scene.get("/pay", "POST", data=b"x", headers={"x-user": key})
    problem = await _problem(scene, "/pay", {"x-user": key})
    assert (status, whole.content_type) == (502, "application/problem+json")
    assert (problem["code"], problem["sandbox"]) == ("sandbox-upstream-down", f"box-{scene.first.name[:4]}")
    assert "valhalla sandbox unlink" in problem["help"]
    scene.connect()
    assert (await _problem(scene, "/", {"x-user": key}))["code"] == "sandbox-without-upstream"
    assert scene.production.asked == []
    await claims.close()


async def test_production_answers_for_a_sandbox_where_the_operator_says_so(
    proxied: Proxied, unused_tcp_port: int
) -> None:
    """And the answer says it."""
    scene = await proxied(down="production")
    scene.connect(scene.first, url=f"http://127.0.0.1:{unused_tcp_port}")
    _, text, whole = await scene.get("/x", "POST", data=b"once", headers=scene.key(scene.first))
    assert (text, whole.headers["valhalla-routed"]) == ("production", "production; why=upstream-down")
    assert scene.production.bodies == [b"once"]


async def test_a_production_that_is_down_is_not_hidden(proxied: Proxied, scene: Scene, unused_tcp_port: int) -> None:
    port, scene.production.port = scene.production.port, unused_tcp_port
    await proxied()
    scene.production.port = port
    assert (await _problem(scene, "/", {}))["code"] == "production-down"
    assert (await scene.get(headers=scene.key(scene.first)))[1] == scene.first.name


async def test_what_does_not_answer_in_time(proxied: Proxied) -> None:
    scene = await proxied(patience=Patience(1.0, 0.2), down="production")
    silent = asyncio.Event()

    async def answer(_: web.Request) -> web.StreamResponse:
        await silent.wait()
        return web.Response()

    scene.first.answer = scene.production.answer = answer
    # what the sandbox may have begun is not begun again in production
    assert (await _problem(scene, "/", scene.key(scene.first)))["code"] == "sandbox-upstream-slow"
    assert scene.production.asked == []
    assert (await _problem(scene, "/", {}))["code"] == "production-slow"
    silent.set()


async def test_half_an_answer_is_not_passed_off_as_a_whole_one(proxied: Proxied) -> None:
    scene = await proxied()

    async def answer(request: web.Request) -> web.StreamResponse:
        made = web.StreamResponse()
        await made.prepare(request)
        await made.write(b"x" * 100_000)
        assert request.transport is not None
        request.transport.abort()
        return made

    scene.production.answer = answer
    with pytest.raises(aiohttp.ClientError):
        await scene.get()


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", 502),
        (b"HTTP/1.1 200 OK\r\nX-A: b\rX-B: c\r\nContent-Length: 2\r\n\r\nhi", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden", 200),
        (b"nonsense\r\n\r\n", 502),
    ],
    ids=["a tunnel", "two lengths", "two small ones", "lengths differ", "short", "bare CR", "two answers", "nonsense"],
)  # fmt: skip
async def test_a_sandbox_says_nothing_into_anothers_answer(proxied: Proxied, told: bytes, found: int) -> None:
    """Its code is nobody's friend: on the caller's connection its answer is one answer, and the next is the next's."""
    scene = await proxied()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(told)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    scene.connect(scene.first, url=f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    key = scene.key(scene.first)["valhalla-routing-key"]
    head = f"GET /1 HTTP/1.1\r\nHost: h\r\nValhalla-Routing-Key: {key}\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n"
    whole = await scene.raw(head.encode(), answers=2)
    assert whole.startswith(b"HTTP/1.1 %d " % found), whole
    assert whole.count(b"HTTP/1.1 ") == 2, whole
    assert b"hidden" not in whole
    assert whole.endswith(b"production")
    listener.close()


async def test_an_ended_sandbox_has_no_requests_from_then_on(proxied: Proxied) -> None:
    """Nor a socket that is open."""
    scene = await proxied()
    key = scene.key(scene.first)

    async def echo(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    assert (await scene.get(headers=key))[1] == scene.first.name
    scene.first.answer = echo
    async with scene.client.ws_connect(scene.url, headers=key) as socket:
        await socket.send_str("a")
        assert (await socket.receive(timeout=5)).data == "a"
        scene.connect(scene.second)
        assert (await socket.receive(timeout=5)).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    _, text, whole = await scene.get(headers=key)
    assert (text, whole.headers["valhalla-routed"]) == ("production", "production; why=ended")


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


async def test_an_address_is_looked_at_when_it_is_connected_to(proxied: Proxied) -> None:
    """However its spelling got past whoever looked at it before."""
    scene = await proxied(loopback=False)
    for host in ("127.1", "2130706433", "localhost", "127.0.0.1"):
        target = scene.known.by_id[scene.first.name]
        scene.connect(scene.first, url=f"http://{host}:{target.base.port}")
        assert (await _problem(scene, "/", scene.key(scene.first)))["code"] == "sandbox-upstream-down"
    assert scene.first.asked == []


async def test_a_request_does_not_go_in_circles(proxied: Proxied) -> None:
    scene = await proxied()
    scene.connect(scene.first, url=scene.url)
    headers = scene.key(scene.first)
    # production's own port is the proxy: what comes back has its name
    assert (await _problem(scene, "/", {"Via": "1.1 valhalla-test"}))["code"] == "proxy-loop"
    assert (await _problem(scene, "/", headers))["code"] == "proxy-loop"


_HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + _HIDDEN,
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX-A: a\r\n X-User: folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX-A: a\rX-User: bare\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX-A: a\x00b\r\n\r\n",
        b"GET http://169.254.169.254/ HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
        b"CONNECT 10.0.0.1:22 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX-User: a\r\nx_user: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nhello\r\n0\r\n\r\n",
    ],
    ids=["CL and TE", "TE and CL", "two lengths", "a signed length", "no coding", "not last", "a space", "folded",
         "bare CR", "NUL", "absolute", "a space in the path", "CONNECT", "TRACE", "two hosts", "two spellings",
         "large", "chunk extension", "negative chunk"],
)  # fmt: skip
async def test_what_smugglers_send_reaches_nobody(proxied: Proxied, head: bytes) -> None:
    """Not the first request, nor what is hidden behind it."""
    scene = await proxied()
    found = await scene.raw(head)
    assert found.split(b"\r\n")[0].split(b" ")[1] == b"400", found[:200]
    assert b"\r\nHTTP/1.1 200" not in found
    assert [request.path for request in scene.production.asked if request.path == "/smuggled"] == []
    assert scene.production.bodies == []


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


async def test_while_nobody_knows_whose_it_is_a_claimed_request_waits(
    proxied: Proxied, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the rest goes on: a NATS that is away is not production's."""
    monkeypatch.setattr(server, "_SETTLING", 30.0)
    scene = await proxied()
    claims = scene.bus.claims()
    await scene.bus.claim(claims, f"x-user={key}", scene.first.name, kind="header")
    lease, scene.ingress._lease_until = scene.ingress._lease_until, 0.0
    waiting = asyncio.create_task(scene.get(headers={"x-user": key}))
    assert (await scene.get(headers={"x-user": f"{key}b"}))[1] == "production"
    assert (await scene.get(headers=scene.key(scene.second)))[1] == scene.second.name
    assert not waiting.done()
    scene.ingress._lease_until = lease + 60
    assert (await waiting)[1] == scene.first.name
    await claims.close()


async def test_health_says_whether_routes_are_known(proxied: Proxied) -> None:
    scene = await proxied()
    status, text, _ = await scene.get("/.valhalla/health")
    assert (status, text) == (200, '{"ok": true, "upstreams": 2}')
    await scene.get()
    await scene.get(headers=scene.key(scene.first))
    assert scene.proxy is not None
    found = {sample.name: sample.value for family in ProxyMetrics(scene.proxy).collect() for sample in family.samples}
    assert found["valhalla_proxy_production_seconds_count"] == found["valhalla_proxy_sandbox_seconds_count"] == 1
    assert (found["valhalla_proxy_upstreams"], found["valhalla_ingress_live"]) == (2, 1)
    assert scene.proxy.counts == {"production": 1, "sandbox": 1}
    scene.ingress._lease_until = 0.0
    assert (await scene.get("/.valhalla/health"))[0] == 503


async def _problem(scene: Scene, path: str, headers: dict[str, str]) -> dict[str, str]:
    async with scene.client.get(scene.url + path, headers=headers) as answer:
        assert answer.content_type == "application/problem+json", await answer.text()
        return await answer.json()
