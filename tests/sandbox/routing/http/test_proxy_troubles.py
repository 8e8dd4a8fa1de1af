"""What the proxy says and does when something is down, slow, broken or hostile: nothing reaches whom it is not for."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web
from tests.sandbox.routing.http.conftest import Proxied, Scene

from valhalla.sandbox.routing.http.proxy import server
from valhalla.sandbox.routing.http.proxy.connecting import Patience
from valhalla.sandbox.routing.http.proxy.metrics import ProxyMetrics


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
