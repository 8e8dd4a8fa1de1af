"""Live events over a WebSocket: subscribing, keys that lose their right."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.events.listening import SECONDS, open_socket, tell
from tests.server.plane import Plane
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus


async def _next(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(SECONDS):
        return json.loads(await socket.recv())


async def test_a_socket_hears_what_it_subscribed_to(plane: Plane, address: str, issue: Issue) -> None:
    key = (await issue("live-j", "events:read", "jobs:read", "alerts:read"))["key"]
    async with open_socket(address, key) as socket:
        await socket.send('{"type": "subscribe", "topics": ["job"]}')
        subscribed = await _next(socket)
        assert (subscribed["type"], subscribed["topics"]) == ("subscribed", ["job"])
        await tell(plane, "alert.ws", "job.ws-1")
        assert "alert.ws" not in await _until(socket, "job.ws-1")

        await socket.send(json.dumps({"type": "subscribe", "topics": ["alert"], "after": subscribed["id"]}))
        assert await _answered(socket) == "subscribed"
        assert "job.ws-1" not in await _until(socket, "alert.ws")

        await socket.send('{"type": "ping"}')
        assert await _answered(socket) == "pong"
        for bad in ("{", '{"type": "subscribe", "topics": ["sandbox"]}', '{"type": "x"}'):
            await socket.send(bad)
            assert await _answered(socket) == "problem"


async def _until(socket: Any, subject: str) -> list[str]:
    """Hear what others make happen, too, until it is ours; return all subjects."""
    told: list[str] = []
    while subject not in told:
        told.append((await _next(socket))["event"]["subject"])
    return told


async def _answered(socket: Any) -> str:
    """Return what kind of answer comes, after whatever happens meanwhile."""
    while (found := (await _next(socket))["type"]) == "event":
        pass
    return found


async def test_a_socket_needs_a_key(plane: Plane, address: str, issue: Issue) -> None:
    for key, status in (("nonsense", 401), ((await issue("live-k", "jobs:read"))["key"], 403)):
        with pytest.raises(InvalidStatus) as caught:
            async with open_socket(address, key):
                pass
        assert caught.value.response.status_code == status


async def test_a_socket_whose_key_is_revoked_or_loses_a_topic_is_closed(
    plane: Plane, address: str, issue: Issue, admin: httpx.AsyncClient
) -> None:
    revoked, narrowed = await issue("live-p", "events:read"), await issue("live-q", "events:read", "jobs:read")
    async with open_socket(address, revoked["key"]) as one, open_socket(address, narrowed["key"]) as other:
        await other.send('{"type": "subscribe", "topics": ["job"]}')
        assert (await _next(other))["type"] == "subscribed"

        assert (await admin.delete(f"/system/api-clients/{revoked['id']}")).status_code == 204
        scopes = {"scopes": ["events:read"]}
        assert (await admin.patch(f"/system/api-clients/{narrowed['id']}", json=scopes)).status_code == 200

        async with asyncio.timeout(SECONDS):
            await asyncio.gather(one.wait_closed(), other.wait_closed())
        assert (one.close_code, other.close_code) == (4401, 4401)
