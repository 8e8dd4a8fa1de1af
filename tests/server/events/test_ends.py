"""How listening ends: a revoked key, a client that goes, a process that shuts down."""

from __future__ import annotations

import asyncio
import contextlib
import json

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.events.listening import SECONDS, listening, open_socket
from tests.server.plane import Plane, refused
from tests.server.serving import serving


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
async def test_a_revoked_key_hears_nothing_more(
    plane: Plane, address: str, issue: Issue, admin: httpx.AsyncClient, header: str
) -> None:
    issued = await issue("live-e", "events:read", "jobs:read")
    async with listening(address, issued["key"], header=header) as stream:
        assert (await admin.delete(f"/system/api-clients/{issued['id']}")).status_code == 204

        frame = await stream.frame()

        assert (frame["event"], json.loads(frame["data"])) == ("closed", {"reason": "unauthenticated"})
        assert await stream.frame() == {}


async def test_a_client_that_goes_leaves_nothing(plane: Plane, address: str, issue: Issue) -> None:
    issued = await issue("live-m", "events:read", "jobs:read")
    hub = plane.runtime.features.events.hub

    def mine() -> int:
        return sum(one.principal.id == issued["id"] for one in hub.listeners)

    async with listening(address, issued["key"]), open_socket(address, issued["key"]):
        assert mine() == 2
    async with asyncio.timeout(SECONDS):
        while mine():
            await asyncio.sleep(0.01)


async def test_the_end_of_the_process_ends_streams(plane: Plane, issue: Issue) -> None:
    """A server that shuts down does not wait for those who only listen."""
    key = (await issue("live-n", "events:read", "jobs:read"))["key"]
    hub = plane.runtime.features.events.hub
    async with contextlib.AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving(plane.app))
        stream = await stack.enter_async_context(listening(address, key))
        socket = await stack.enter_async_context(open_socket(address, key))
        hub.close()
        try:
            frame = await stream.frame()
            assert (frame["event"], json.loads(frame["data"])) == ("closed", {"reason": "shutdown"})
            async with asyncio.timeout(SECONDS):
                await socket.wait_closed()
            assert socket.close_code == 1012
            refused(await plane.client(key).get("/events"), 503, "backend-unavailable")
        finally:
            hub._closed = False
