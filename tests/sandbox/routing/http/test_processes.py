"""The proxy and the receiver of webhooks as processes of their own, beside a control plane."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.sandbox.plane import Team
from tests.sandbox.routing.http.conftest import App, running

from valhalla.runtime import Runtime
from valhalla.sandbox.routing.http.webhooks.contracts import Receiver

pytestmark = pytest.mark.slow
_MANY = 300


class Child:
    """A command of ``valhalla`` that says where it listens."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    def memory(self) -> int:
        """Return the bytes that it has in memory now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) * 1024

    async def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 30)


@asynccontextmanager
async def child(runtime: Runtime, *words: str) -> AsyncGenerator[Child]:
    """Run it on the servers of a control plane of the test."""
    told = runtime.settings
    secrets = {
        name: getattr(told, name).get_secret_value()
        for name in ("database_url", "valkey_url", "nats_operator_seed", "nats_system_creds")
    }
    settings: dict[str, Any] = {
        **secrets,
        "nats_url": told.nats_url,
        "data_dir": told.data_dir,
        "cell_key": base64.urlsafe_b64encode(runtime.cell._key).decode(),
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VALHALLA_")}
    environment |= {f"VALHALLA_{name.upper()}": str(value) for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "valhalla.cli", "ingress", *words, env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        line = b""
        while not (found := re.search(rb" on 127\.0\.0\.1:(\d+)", line)):
            line = await asyncio.wait_for(process.stdout.readline(), 60)
            assert line, "it ended before it listened"
        yield Child(process, int(found[1]))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def production() -> AsyncIterator[App]:
    async with running("production") as made:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


async def text(client: aiohttp.ClientSession, url: str, **headers: str) -> str:
    async with client.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}) as answer:
        return await answer.text()


async def test_the_proxy_follows_sandboxes_from_their_link_to_their_end(
    runtime: Runtime, team: Team, stranger: Team, production: App, client: aiohttp.ClientSession, key: str
) -> None:
    """Two developers, each with the requests of their own test user, and nobody who is told twice."""
    mine, theirs = await team.new(), await stranger.new()
    upstreams = runtime.traffic.upstreams
    async with (
        running("mine") as first,
        running("theirs") as second,
        child(runtime, "proxy", "--production", f"http://127.0.0.1:{production.port}", "--header", "x-user") as proxy,
    ):
        assert await text(client, proxy.url, x_user=key) == "production"
        _, proof = await upstreams.put(team.principal, mine.id, f"http://127.0.0.1:{first.port}")
        await upstreams.put(stranger.principal, theirs.id, f"http://127.0.0.1:{second.port}")
        await runtime.sandboxes.link(team.principal, mine.id, "header", f"x-user={key}")
        await runtime.sandboxes.link(stranger.principal, theirs.id, "header", f"x-user={key}b")
        # that a route holds is promised when link returns; an upstream is heard of within milliseconds
        await until(client, proxy.url, "mine", x_user=key)
        await until(client, proxy.url, "theirs", x_user=f"{key}b")
        users = [key, f"{key}b", "other"] * 40
        found = await asyncio.gather(*(text(client, proxy.url, x_user=user) for user in users))
        assert found == ["mine", "theirs", "production"] * 40
        assert await text(client, proxy.url, baggage=f"valhalla-sandbox={mine.name};key={proof}") == "mine"
        assert await text(client, proxy.url, baggage=f"valhalla-sandbox={mine.name}") == "production"

        await team.destroy(mine.id)
        # the claim ends with the sandbox, whatever is known of its upstream
        assert await text(client, proxy.url, x_user=key) == "production"
        await until(client, proxy.url, "production", valhalla_routing_key=proof)
        assert await text(client, proxy.url, x_user=f"{key}b") == "theirs"
        _, records = await runtime.db.run(runtime.traffic.upstreams._registry.load)
        assert mine.id not in {record.key for record in records}
        assert await proxy.end() == 0


async def until(client: aiohttp.ClientSession, url: str, wanted: str, **headers: str) -> None:
    for _ in range(200):
        with contextlib.suppress(aiohttp.ClientError):
            if await text(client, url, **headers) == wanted:
                return
        await asyncio.sleep(0.05)
    raise AssertionError(f"it never was {wanted}")


async def test_memory_does_not_grow_with_what_passes(
    runtime: Runtime, production: App, client: aiohttp.ClientSession
) -> None:
    """200 MB up and 200 MB down, to and from sides that are slower than the other."""
    piece, pieces = b"x" * 1_000_000, 200

    async def answer(request: web.Request) -> web.StreamResponse:
        read = 0
        async for part in request.content.iter_any():
            read += len(part)
            if read % 7 == 0:
                await asyncio.sleep(0)
        made = web.StreamResponse(headers={"x-read": str(read)})
        await made.prepare(request)
        for _ in range(pieces):
            await made.write(piece)
        return made

    async def body() -> AsyncIterator[bytes]:
        for _ in range(pieces):
            yield piece

    production.answer = answer
    async with child(runtime, "proxy", "--production", f"http://127.0.0.1:{production.port}") as proxy:
        await until(client, f"{proxy.url}/.valhalla/health", '{"ok": true, "upstreams": 0}')
        before, most = proxy.memory(), 0
        async with client.post(proxy.url, data=body()) as whole:
            assert whole.headers["x-read"] == str(len(piece) * pieces)
            read = 0
            async for part in whole.content.iter_any():
                read += len(part)
                most = max(most, proxy.memory())
        assert read == len(piece) * pieces
        assert most - before < 40_000_000


async def test_requests_under_way_end_before_the_proxy_does(
    runtime: Runtime, production: App, client: aiohttp.ClientSession, unused_tcp_port: int
) -> None:
    begun, going = asyncio.Event(), asyncio.Event()

    async def answer(_: web.Request) -> web.StreamResponse:
        begun.set()
        await going.wait()
        return web.Response(text="whole")

    production.answer = answer
    words = ["--production", f"http://127.0.0.1:{production.port}", "--metrics", f"127.0.0.1:{unused_tcp_port}"]
    async with child(runtime, "proxy", *words) as proxy:
        told = await text(client, f"http://127.0.0.1:{unused_tcp_port}/metrics")
        assert "valhalla_ingress_live 1.0" in told
        asked = asyncio.create_task(text(client, proxy.url))
        await begun.wait()
        ending = asyncio.create_task(proxy.end())
        for _ in range(200):
            # it takes no new ones
            async with aiohttp.ClientSession() as other:
                try:
                    production.answer = None
                    await text(other, proxy.url)
                except aiohttp.ClientError:
                    break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("it still takes requests")
        going.set()
        assert await asked == "whole"
        assert await ending == 0


async def test_what_was_answered_with_202_is_stored_once(
    runtime: Runtime, team: Team, client: aiohttp.ClientSession, key: str
) -> None:
    """A receiver is killed in the middle, and the sender sends all of it again to the next."""
    box = await team.new(routes=[("tenant", key)])
    receiver = Receiver(f"r{key}", "tenant", f"fixed:{key}")
    await runtime.db.run(runtime.traffic.receivers.put, receiver.name, receiver, actor="test")
    taken: set[int] = set()

    async def send(url: str, number: int) -> None:
        headers = {"webhook-id": f"m{number}"}
        with contextlib.suppress(aiohttp.ClientError):
            async with client.post(f"{url}/ingress/{receiver.name}", data=b"{}", headers=headers) as answer:
                if answer.status == 202:
                    taken.add(number)

    async with child(runtime, "http") as first:
        sending = asyncio.gather(*(send(first.url, number) for number in range(_MANY)))
        while len(taken) < 20:
            await asyncio.sleep(0.005)
        first.process.kill()
        await sending
    before = await ids(runtime, box.id)
    assert {f"r{key}:m{number}" for number in taken} <= set(before)
    async with child(runtime, "http") as second:
        await asyncio.gather(*(send(second.url, number) for number in range(_MANY)))
        assert await second.end() == 0
    after = await ids(runtime, box.id)
    assert len(taken) == _MANY
    assert sorted(after) == sorted(f"r{key}:m{number}" for number in range(_MANY))


async def ids(runtime: Runtime, sandbox: str) -> list[str]:
    found: list[str] = []
    after = 0
    while page := await runtime.routing.reader.page(sandbox, after=after, limit=200):
        found += [one.event.id for one in page]
        after = page[-1].sequence
    return found
