"""A bot's connection to the gateway of bots, by hand, and events for it."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from tests.sandbox.routing.conftest import event
from tests.sandbox.routing.discord.scene import Scene

from valhalla.kit import natsauth
from valhalla.sandbox.contracts import Sandbox
from valhalla.sandbox.routing.ingress import Ingress


class Wire:
    """A bot's connection, by hand."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.seen: list[dict[str, Any]] = []
        self._inflate = zlib.decompressobj()

    async def hear(self) -> dict[str, Any] | int:
        """Return the next frame, or the code that it was closed with."""
        message = await self.socket.receive(timeout=10)
        if message.type is aiohttp.WSMsgType.TEXT:
            self.seen.append(json.loads(message.data))
        elif message.type is aiohttp.WSMsgType.BINARY:
            assert message.data.endswith(b"\x00\x00\xff\xff")
            self.seen.append(json.loads(self._inflate.decompress(message.data)))
        else:
            return self.socket.close_code or 1006
        return self.seen[-1]

    async def hears(self, name: str | int) -> dict[str, Any]:
        """Return the next frame of an event or an operation."""
        while True:
            found = await self.hear()
            assert isinstance(found, dict), found
            if name in (found["t"], found["op"]):
                return found

    async def closed(self) -> int:
        """Return the code that it is closed with."""
        while isinstance(found := await self.hear(), dict):
            pass
        return found

    async def say(self, op: int, data: Any = None) -> None:
        await self.socket.send_str(json.dumps({"op": op, "d": data}))

    async def identify(self, scene: Scene, box: Sandbox, **more: Any) -> None:
        await self.say(2, {"token": scene.token(box), "intents": 1 << 9 | 1, "properties": {}} | more)

    async def resume(self, scene: Scene, box: Sandbox, session: str, number: int) -> None:
        await self.say(6, {"token": scene.token(box), "session_id": session, "seq": number})


@asynccontextmanager
async def wire(scene: Scene, query: str = "v=10&encoding=json") -> AsyncGenerator[Wire]:
    async with scene.http.ws_connect(f"http://127.0.0.1:{scene.port}/?{query}", max_msg_size=0) as socket:
        yield Wire(socket)


@asynccontextmanager
async def lanes(scene: Scene) -> AsyncGenerator[Ingress]:
    """Whoever publishes events of Discord's."""
    url = scene.runtime.settings.nats_url
    assert url is not None
    ingress = Ingress(url, natsauth.control_creds(scene.runtime.cell), name="tests")
    await ingress.start()
    yield ingress
    await ingress.stop()


def message(guild: dict[str, Any], number: int, size: int = 0) -> Any:
    body = {"id": str(number), "guild_id": guild["id"], "author": {"id": "7"}, "content": "", "pad": "x" * size}
    return event(guild["id"], number, source="discord", type="MESSAGE_CREATE", data=json.dumps(body).encode())
