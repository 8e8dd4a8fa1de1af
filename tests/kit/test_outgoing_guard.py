"""Requests that go out reach what was meant, however the target is written, named or moved."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Sequence
from ipaddress import IPv4Address, IPv6Address

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.kit.outgoing_guard import AnswerTooLarge, Base, Reach, TargetRefused
from valhalla.kit.outgoing_guard.exchange import exchange
from valhalla.kit.outgoing_guard.rules import effective, is_public
from valhalla.kit.outgoing_guard.transport import guarded_client

PRIVATE = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "fe80::1",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "2002:7f00:1::1",
    "2001:0:7f00:1::",
    "100::1",
]


def test_no_private_address_passes_in_any_form() -> None:
    assert [text for text in PRIVATE if Reach().allows(ipaddress.ip_address(text))] == []


def test_public_addresses_pass() -> None:
    for text in ("1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"):
        assert Reach().allows(ipaddress.ip_address(text))


def test_a_named_host_may_lie_in_its_own_network_and_on_its_port() -> None:
    reach = Reach.of(hosts=["hooks.internal:8443=10.1.0.0/16", "[fd00::7]=fd00::7"])
    inside, metadata = ipaddress.ip_address("10.1.2.3"), ipaddress.ip_address("169.254.169.254")
    assert reach.allows(inside, "hooks.internal", 8443)
    assert reach.allows(ipaddress.ip_address("::ffff:10.1.2.3"), "hooks.internal", 8443)
    assert reach.allows(ipaddress.ip_address("fd00::7"), "[fd00::7]", 1)
    reach.check_url("https://[fd00::7]/hook")
    for address, host, port in (
        (inside, "hooks.internal", 443),
        (inside, "other.internal", 8443),
        (inside, "a.hooks.internal", 8443),
        (metadata, "hooks.internal", 8443),
        (ipaddress.ip_address("10.2.0.1"), "hooks.internal", 8443),
        (ipaddress.ip_address("fd00::8"), "[fd00::7]", 1),
    ):
        assert not reach.allows(address, host, port)
    # who does not say whom they mean means none of them
    assert not reach.allows(inside)


@pytest.mark.parametrize(
    "text", ["hooks.internal", "hooks.internal=", "Hooks=10.0.0.0/8", "a=10.0.0.0/99", "a:0=10.0.0.0/8", "*=10.0.0.0/8",
             "a=169.254.169.254", "a=0.0.0.0/0", "a=fe80::1", "a=::/0", "u@a=10.0.0.0/8"],
)  # fmt: skip
def test_what_is_no_private_host(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it as|a port is|after '='|link-local"):
        Reach.of(hosts=[text])


@given(st.ip_addresses(v=4))
def test_what_carries_an_ipv4_address_is_judged_as_it(address: IPv4Address) -> None:
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        carried = IPv6Address(int(IPv6Address(prefix)) | int(address))
        assert effective(carried) == address
        assert Reach().allows(carried) == is_public(address)


def test_an_allowed_network_is_reached_and_no_other() -> None:
    reach = Reach.of(["10.0.0.0/8"])

    assert reach.allows(ipaddress.ip_address("10.9.9.9"))
    assert reach.allows(ipaddress.ip_address("::ffff:10.9.9.9"))
    assert not reach.allows(ipaddress.ip_address("192.168.0.1"))


def test_a_base_covers_what_lies_under_it_only() -> None:
    base = Base.parse("https://api.example/v1")

    assert base.covers("https://api.example/v1")
    assert base.covers("https://api.example:443/v1/things?x=1")
    for other in (
        *("http://api.example/v1", "https://api.example:444/v1", "https://api.example/v10", "https://api.example/"),
        *(
            "https://api.example/v1/../admin",
            "https://api.example/v1/%2e%2e/admin",
            "https://api.example/v1/%252e%252e/a",
        ),
        *("https://api.example@evil.example/v1", "https://api.example\\@evil/v1", "https://api.example.evil/v1"),
        *("https://api.example/v1#x", "https://api.example/v1//x", "https://api.example/v1/\n", "ftp://api.example/v1"),
    ):
        assert not base.covers(other), other


class Server:
    """Answers as the path says."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
            if path == b"/moved":
                writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/secret\r\nContent-Length: 0\r\n\r\n")
            elif path == b"/hang":
                await asyncio.sleep(60)
            elif path in (b"/endless", b"/drip"):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    writer.write(b"x" * (4096 if path == b"/endless" else 1))
                    await writer.drain()
                    await asyncio.sleep(0.01)
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield Server(running.sockets[0].getsockname()[1])
    running.close()


LOCAL = Reach.of(["127.0.0.0/8"])


async def test_an_allowed_private_target_answers_and_a_redirect_is_not_followed(server: Server) -> None:
    async with guarded_client(LOCAL) as client:
        answer = await exchange(client, client.build_request("GET", server.url("/")), seconds=5, most=10)
        moved = await client.get(server.url("/moved"))

    assert (answer.status, answer.body) == (200, b"ok")
    assert (moved.status_code, moved.headers["location"]) == (302, "http://127.0.0.1:1/secret")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::ffff:7f00:1]"])
async def test_a_private_target_is_refused_however_it_is_written(server: Server, host: str) -> None:
    async with guarded_client(Reach()) as client:
        with pytest.raises((TargetRefused, httpx.ConnectError)):
            await client.get(server.url("/", host))


async def test_a_name_that_is_moved_to_a_private_address_is_refused_when_it_is_connected(server: Server) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1", "127.0.0.1"]])

    async def resolve(host: str, port: int) -> Sequence[str]:
        return next(answers)

    async with guarded_client(Reach(), resolve=resolve) as client:
        for _ in range(2):
            with pytest.raises(TargetRefused):
                await client.get(server.url("/", "rebound.example"))


async def test_the_address_that_was_checked_is_the_one_that_is_asked(server: Server) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["10.0.0.1", "127.0.0.1"]

    async with guarded_client(LOCAL, resolve=resolve) as client:
        assert (await client.get(server.url("/", "named.example"))).text == "ok"


async def test_no_base_no_request(server: Server) -> None:
    reach = Reach.of(["127.0.0.0/8"], [server.url("/v1")])

    async with guarded_client(reach) as client:
        assert (await client.get(server.url("/v1/x"))).status_code == 200
        with pytest.raises(TargetRefused):
            await client.get(server.url("/v2"))


@pytest.mark.parametrize("path", ["/hang", "/drip"])
async def test_a_target_that_does_not_end_is_left_in_time(server: Server, path: str) -> None:
    async with guarded_client(LOCAL) as client:
        with pytest.raises(TimeoutError):
            await exchange(client, client.build_request("GET", server.url(path)), seconds=0.1, most=10_000)


async def test_of_an_endless_answer_only_so_much_is_read(server: Server) -> None:
    async with guarded_client(LOCAL) as client:
        with pytest.raises(AnswerTooLarge):
            await exchange(client, client.build_request("GET", server.url("/endless")), seconds=30, most=5000)


async def test_a_proxy_of_the_environment_is_not_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")

    async with guarded_client(LOCAL) as client:
        assert (await client.get(server.url("/"))).text == "ok"
