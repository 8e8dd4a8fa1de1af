"""CrowdSec's stock client against a served control plane, and a hundred thousand decisions in one answer."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import msgspec
import pytest
from pycrowdsec.client import QueryClient, StreamClient
from tests.server.conftest import Issue
from tests.server.plane import Plane
from tests.server.serving import serving

from valhalla.features.security.blocklist.importing import Given

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SECOND = "198.18.77"


async def test_the_stock_client_follows(plane: Plane, issue: Issue, rules: str) -> None:
    key = (await issue("bouncers", "bouncer"))["key"]
    service = plane.runtime.features.blocklist.service

    async def ban(value: str, kind: Any = "ip") -> None:
        await plane.runtime.db.run(service.block, type=kind, value=value, reason="x", source="test", actor="test")
        await plane.runtime.features.blocklist.keeper.refresh()

    await ban(f"{SECOND}.1")
    async with serving(plane.app) as place:
        client = StreamClient(api_key=key, lapi_url=f"http://{place}/", interval=1)
        query = QueryClient(api_key=key, lapi_url=f"http://{place}/")
        await asyncio.to_thread(client.cycle, "true")
        assert client.get_action_for(f"{SECOND}.1") == "ban"
        await ban(f"{SECOND}.64/26", "cidr")
        await asyncio.to_thread(client.cycle, "false")
        assert client.get_action_for(f"{SECOND}.100") == "ban"
        assert client.get_action_for(f"{SECOND}.2") is None
        assert await asyncio.to_thread(query.get_action_for, f"{SECOND}.100") == "ban"
        assert await asyncio.to_thread(query.get_decisions_for, f"{SECOND}.2") is None
        await plane.runtime.db.run(service.unblock, type="ip", value=f"{SECOND}.1", actor="test")
        await plane.runtime.features.blocklist.keeper.refresh()
        await asyncio.to_thread(client.cycle, "false")
        assert client.get_action_for(f"{SECOND}.1") is None
        assert client.get_action_for(f"{SECOND}.100") == "ban"
        with pytest.raises(Exception, match="403"):
            await asyncio.to_thread(StreamClient(api_key="none", lapi_url=f"http://{place}/").cycle, "true")


async def test_a_full_pull_of_many_decisions_keeps_memory_flat(plane: Plane, issue: Issue, rules: str) -> None:
    """Forty thousand, in parts: what a pull holds at once does not grow with how many there are."""
    feature = plane.runtime.features.blocklist
    count = 40_000
    text = "".join(f"100.{64 + n // 65536}.{n // 256 % 256}.{n % 256}\n" for n in range(count))
    done = await feature.intake.take(
        text, Given(source="many"), actor="test", now=plane.runtime.clock.now(), confirm=True
    )
    assert done.added == count
    await feature.keeper.refresh()
    key = (await issue("bouncers", "bouncer"))["key"]
    biggest = peak = 0
    found: list[bytes] = []
    send: Any = None

    async def taken(message: dict[str, Any]) -> None:
        nonlocal biggest
        body = message.get("body", b"")
        biggest = max(biggest, len(body))
        found.append(body)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    send = taken
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": "/v1/decisions/stream", "raw_path": b"/v1/decisions/stream", "root_path": "",
        "query_string": b"startup=true", "headers": [(b"x-api-key", key.encode())], "client": ("198.18.9.9", 1),
        "server": ("plane", 80),
    }  # fmt: skip
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        await plane.app(scope, receive, send)
        peak = tracemalloc.get_traced_memory()[1] - before - sum(map(len, found))
    finally:
        tracemalloc.stop()
    answer = msgspec.json.decode(b"".join(found))
    assert sum(one["value"].startswith("100.") for one in answer["new"]) == count
    assert biggest < 400_000
    assert peak < 12 * 2**20, peak
