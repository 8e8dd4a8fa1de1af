"""Whoever listens to live events: one open stream or socket, and somebody who makes things happen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from tests.server.plane import Plane
from websockets.asyncio.client import connect

from valhalla.kit.outbox import emit_many

SECONDS = 20


class Stream:
    """One open stream, read line by line."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.last_id: str | None = None

    async def frame(self) -> dict[str, Any]:
        """The next frame: its fields, comments under ``""``."""
        found: dict[str, Any] = {}
        async with asyncio.timeout(SECONDS):
            async for line in self._lines:
                if not line:
                    break
                name, _, value = line.partition(": ")
                found[name] = value
        self.last_id = found.get("id", self.last_id)
        return found

    async def event(self) -> dict[str, Any]:
        """The next event."""
        while "data" not in (frame := await self.frame()) or "event" in frame:
            assert frame, "the stream ended"
        return json.loads(frame["data"])


@asynccontextmanager
async def listening(
    address: str, key: str, *, last_id: str | None = None, header: str = "Authorization", **params: Any
) -> AsyncGenerator[Stream]:
    headers = {header: f"Bearer {key}" if header == "Authorization" else key}
    headers |= {"Last-Event-ID": last_id} if last_id else {}
    async with (
        httpx.AsyncClient(timeout=SECONDS) as client,
        client.stream("GET", f"http://{address}/events", params=params, headers=headers) as response,
    ):
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = Stream(response)
        assert "" in await stream.frame()
        yield stream


async def tell(plane: Plane, *subjects: str, **data: Any) -> None:
    items = [{"subject": one, "type": f"{one.partition('.')[0]}.told", "data": {"n": data}} for one in subjects]
    await plane.runtime.db.run(emit_many, items)


def open_socket(address: str, key: str) -> connect:
    return connect(f"ws://{address}/ws", additional_headers={"Authorization": f"Bearer {key}"})
