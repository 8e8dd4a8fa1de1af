"""``/ws``: the same stream in JSON frames, whose topics can be changed while it is open."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import pydantic
from fastapi.routing import APIWebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from valhalla.features.observability.stream import rules
from valhalla.features.observability.stream.contracts import NOTHING, SCOPE, Frame
from valhalla.features.observability.stream.following import follow, settle
from valhalla.features.observability.stream.hub import Hub, Listener
from valhalla.features.observability.stream.knowing import Knowing
from valhalla.features.observability.stream.wire import Subscribe
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem, Unauthenticated, Unavailable
from valhalla.kit.db import Database
from valhalla.kit.http import principal_in
from valhalla.kit.json import dumps

_CODES: Final = {"slow": 4008, "shutdown": 1012, "unauthenticated": 4401}
_VIOLATION: Final = 1008
_LATER: Final = 1013
_MOST_BAD: Final = 20


def socket_route(hub: Hub, db: Database, knowing: Knowing) -> APIWebSocketRoute:
    """Return the route."""

    async def live(socket: WebSocket) -> None:
        """Follow what happens, over a WebSocket."""
        principal = principal_in(socket.scope)
        if principal is None:
            raise Unauthenticated
        principal.require(SCOPE)
        listener = hub.join(principal, NOTHING, knowing.recheck(socket.scope))
        try:
            await settle(hub)
            await socket.accept()
            await _Session(hub, db, socket, listener).run()
        finally:
            hub.leave(listener)

    live.__valhalla_scope__ = SCOPE  # type: ignore[attr-defined]
    return APIWebSocketRoute("/ws", live, name="live")


class _Session:
    """One open socket: what comes in is read while frames go out."""

    def __init__(self, hub: Hub, db: Database, socket: WebSocket, listener: Listener) -> None:
        self._hub = hub
        self._db = db
        self._socket = socket
        self._listener = listener
        self._pump: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._code = 1000

    async def run(self) -> None:
        reading = asyncio.ensure_future(self._read())
        over = asyncio.ensure_future(self._over.wait())
        late = asyncio.ensure_future(self._late())
        self._start(None, told=False)
        try:
            await asyncio.wait({reading, over, late}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = {task for task in (reading, over, late, self._pump) if task is not None}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            # a client that has gone cannot be told
            with contextlib.suppress(Exception):
                async with asyncio.timeout(self._hub.bounds.patience):
                    await self._socket.close(self._code)

    def _start(self, after: int | None, *, told: bool) -> None:
        frames = follow(self._hub, self._db, self._listener, after)

        async def pump() -> None:
            try:
                async with contextlib.aclosing(frames):
                    async for frame in frames:
                        await self._send(frame, told=told)
                self._code = _CODES.get(self._listener.ended or "", 1000)
            except Unavailable as problem:
                self._code = _LATER
                await self._refuse(problem)
            except (WebSocketDisconnect, RuntimeError):
                self._code = 1006
            self._over.set()

        self._pump = asyncio.create_task(pump(), name="events-socket")

    async def _send(self, frame: Frame, *, told: bool) -> None:
        if frame.kind == "hello":
            if told:
                topics = sorted(self._listener.topics)
                await self._text({"type": "subscribed", "topics": topics, "id": frame.resume})
            return
        member = "event" if frame.kind == "event" else "data"
        resume = b"null" if frame.resume is None else b"%d" % frame.resume
        text = b'{"type":"%s","id":%s,"%s":%s}' % (frame.kind.encode(), resume, member.encode(), frame.body)
        await self._socket.send_text(text.decode())

    async def _read(self) -> None:
        bad = 0
        while bad < _MOST_BAD:
            try:
                message = await self._socket.receive()
            except WebSocketDisconnect:
                return
            if message["type"] == "websocket.disconnect":
                return
            try:
                asked = Subscribe.model_validate_json(message.get("text") or message.get("bytes") or b"")
                if asked.type == "ping":
                    await self._text({"type": "pong"})
                else:
                    await self._subscribe(asked)
            except pydantic.ValidationError:
                bad += 1
                await self._text(
                    {"type": "problem", "code": "invalid-request", "detail": "send {'type': 'subscribe', 'topics': []}"}
                )
            except Problem as problem:
                bad += 1
                await self._refuse(problem)
        self._code = _VIOLATION

    async def _subscribe(self, asked: Subscribe) -> None:
        topics = rules.parse(asked.topics)
        rules.check(self._principal, topics)
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait({self._pump})
        self._listener.topics = topics
        waited = [frame for frame in self._listener.queue if rules.covers(topics, frame.subject)]
        self._listener.queue.clear()
        self._listener.queue.extend(waited)
        self._start(asked.after, told=True)

    @property
    def _principal(self) -> Principal:
        return self._listener.principal

    async def _refuse(self, problem: Problem) -> None:
        await self._text({"type": "problem", "code": problem.code, "detail": problem.detail})

    async def _text(self, document: dict[str, Any]) -> None:
        await self._socket.send_text(dumps(document).decode())

    async def _late(self) -> None:
        while self._listener.ended is None:
            await self._listener.wake.wait()
            await asyncio.sleep(0.5)
        await asyncio.sleep(self._hub.bounds.patience)
        self._code = _CODES.get(self._listener.ended, 1000)
