"""Posting to what the internet has: who hangs, streams, redirects, moves its name, closes, or speaks no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from valhalla.kit.outgoing_guard import Reach, TargetRefused
from valhalla.kit.outgoing_guard.poster import BadAnswer, Posted, Poster, Target

LOCAL = Reach.of(["127.0.0.0/8"])
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def answering(
    *answers: bytes, then: Callable[[asyncio.StreamWriter], object] = lambda _: None
) -> AsyncGenerator[tuple[int, list[bytes]]]:
    """Answer requests in turn, then do what ``then`` says with the connection; yield the port and the heads."""
    heads: list[bytes] = []
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while left:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
            except asyncio.IncompleteReadError:
                return
            heads.append(head)
            writer.write(left.pop(0))
            await writer.drain()
        then(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heads
    finally:
        server.close()


async def post(port: int, *, seconds: float = 5.0, poster: Poster | None = None) -> Posted:
    poster = poster or Poster(LOCAL)
    return await poster.post(Target.of(f"http://127.0.0.1:{port}/a?b=1", LOCAL), b"", b"{}", seconds=seconds, most=10)


async def test_a_connection_is_kept_and_its_end_is_no_failure() -> None:
    poster = Poster(LOCAL)
    async with answering(OK, OK, OK, then=lambda writer: writer.close()) as (port, heads):
        answers = [await post(port, poster=poster) for _ in range(3)]
        assert [(each.status, each.excerpt) for each in answers] == [(200, b"ok")] * 3
        assert heads[0].startswith(b"POST /a?b=1 HTTP/1.1\r\nHost: 127.0.0.1:")
        await asyncio.sleep(0.01)
        poster.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"5\r\nhello\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 50_000,
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    ],
    ids=["endless", "huge", "hinted", "unmeasured"],
)
async def test_a_status_decides_whatever_follows(answer: bytes) -> None:
    async with answering(answer, then=lambda writer: writer.close()) as (port, _):
        got = await post(port)
        assert got.status == 200
        assert len(got.excerpt) <= 10


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", b""],
                         ids=["no-http", "headers", "nothing"])  # fmt: skip
async def test_what_is_no_answer(answer: bytes) -> None:
    async with answering(answer, then=lambda writer: writer.close()) as (port, _):
        with pytest.raises(BadAnswer):
            await post(port)


async def test_who_hangs_is_left() -> None:
    async with answering(b"", b"") as (port, _):
        with pytest.raises(TimeoutError):
            await post(port, seconds=0.05)


async def test_a_name_that_moves_to_a_private_address_is_refused_when_it_is_connected_to() -> None:
    async with answering(OK, OK) as (port, heads):
        where = ["93.184.216.34"]

        async def resolve(host: str, port: int) -> Sequence[str]:
            assert host == "moved.example"
            return where

        # that it may lie in one network lets it move into no other
        poster = Poster(Reach.of(hosts=["moved.example=10.0.0.0/8"]), resolve=resolve)
        target = Target.of(f"http://moved.example:{port}/", poster.reach)
        where[:] = ["127.0.0.1"]
        with pytest.raises(TargetRefused):
            await poster.post(target, b"", b"{}", seconds=1)
        where[:] = ["::ffff:127.0.0.1"]
        with pytest.raises(TargetRefused):
            await poster.post(target, b"", b"{}", seconds=1)
        assert heads == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://169.254.169.254/latest",
        "http://0.0.0.0/",
        "http://[::ffff:10.0.0.1]/",
        "ftp://example.com/",
        "http://a:b@example.com/",
    ],
)
def test_urls_that_nobody_may_be_sent_to(url: str) -> None:
    with pytest.raises(TargetRefused):
        Target.of(url, Reach.of())


def test_parts_of_a_url() -> None:
    assert Target.of("https://example.com?x=1", Reach.of()) == Target(
        "https", "example.com", 443, b"/?x=1", b"example.com"
    )
    ipv6 = Target.of("http://[2606:4700::1111]:81/a", Reach.of())
    assert (ipv6.host, ipv6.port, ipv6.authority) == ("[2606:4700::1111]", 81, b"[2606:4700::1111]:81")
