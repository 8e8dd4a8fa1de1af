"""Server-sent events (WHATWG HTML section 9.2) as an ASGI answer that ends when either side wants it to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from valhalla.features.observability.stream.contracts import Frame
from valhalla.features.observability.stream.hub import Listener

EVENT_STREAM: Final = "text/event-stream"
_RETRY: Final = b"retry: 2000\n"


def render(frame: Frame) -> bytes:
    """Return the bytes of a frame; events have no name, so ``onmessage`` hears all of them."""
    mark = b"" if frame.resume is None else b"id: %d\n" % frame.resume
    match frame.kind:
        case "event":
            return b"%sdata: %s\n\n" % (mark, frame.body)
        case "hello":
            return b": hello\n%s%s\n" % (_RETRY, mark)
        case "ping":
            return b": ping\n%s\n" % mark
        case kind:
            return b"event: %s\n%sdata: %s\n\n" % (kind.encode(), mark, frame.body)


class EventStream(Response):
    """Sends frames as they come. A client that went away, or does not read that it was let go, is not waited for."""

    media_type = EVENT_STREAM

    def __init__(
        self, frames: AsyncGenerator[Frame], listener: Listener, done: Callable[[], None], patience: float
    ) -> None:
        """``done`` is called at the end, whatever it was; ``patience`` in seconds."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self.raw_headers = [header for header in self.raw_headers if header[0] != b"content-length"]
        self._frames = frames
        self._listener = listener
        self._done = done
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until one of both ends it."""
        pump = asyncio.ensure_future(self._pump(send))
        gone = asyncio.ensure_future(_gone(receive))
        let_go = asyncio.ensure_future(self._late())
        try:
            await asyncio.wait({pump, gone, let_go}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._done()
            for task in (pump, gone, let_go):
                task.cancel()
            await asyncio.wait({pump, gone, let_go})
            await self._frames.aclose()
        if not pump.cancelled():
            pump.result()

    async def _pump(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for frame in self._frames:
            await send({"type": "http.response.body", "body": render(frame), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _late(self) -> None:
        while self._listener.ended is None:
            await self._listener.wake.wait()
            await asyncio.sleep(0.5)
        await asyncio.sleep(self._patience)


async def _gone(receive: Receive) -> None:
    with contextlib.suppress(Exception):
        while (await receive())["type"] != "http.disconnect":
            pass
