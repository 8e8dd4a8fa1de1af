"""One stream from its beginning to its end: what was missed, then what happens, with a sign of life in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from valhalla.features.observability.stream import store
from valhalla.features.observability.stream.contracts import Frame
from valhalla.features.observability.stream.hub import Hub, Listener, frame_of
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.json import dumps

_PAGE = 500


async def settle(hub: Hub) -> None:
    """Wait until events are being heard.

    Raises:
        Unavailable: they are not, within some seconds.
    """
    try:
        async with asyncio.timeout(hub.bounds.patience):
            await hub.ready.wait()
    except TimeoutError:
        raise Unavailable("postgres", "events are not heard at present") from None


async def follow(hub: Hub, db: Database, listener: Listener, after: int | None) -> AsyncGenerator[Frame]:
    """Yield everything for one listener, which has joined; ``after`` is where it resumes, ``None`` for now.

    Raises:
        Unavailable: what was missed cannot be read.
    """
    seen: set[int] = set()
    yield Frame("hello", hub.safe if after is None else None)
    if after is not None:
        async for frame in _missed(hub, db, listener, after, seen):
            yield frame
    for frame in hub.registries(listener):
        yield frame
    checked = time.monotonic()
    while True:
        while listener.queue:
            frame = listener.queue.popleft()
            if frame.number is None or frame.number not in seen:
                yield frame
            if time.monotonic() - checked >= hub.bounds.heartbeat:
                # of a stream that is never quiet: a key also ends because its time has come
                checked = time.monotonic()
                listener.recheck()
        if listener.ended is not None:
            yield Frame("closed", None, dumps({"reason": listener.ended}))
            return
        listener.wake.clear()
        try:
            async with asyncio.timeout(hub.bounds.heartbeat):
                await listener.wake.wait()
        except TimeoutError:
            checked = time.monotonic()
            listener.recheck()
            # the queue is empty, so everything up to there was told
            yield Frame("ping", hub.safe)


async def _missed(hub: Hub, db: Database, listener: Listener, after: int, seen: set[int]) -> AsyncGenerator[Frame]:
    """Yield what came after an id, or that this cannot be told; what is also offered meanwhile is in ``seen``."""
    if not await db.read(store.reaches, after, hub.bounds.replay):
        yield Frame("reset", hub.safe, dumps({"reason": "what came after this id is not kept any more"}))
        return
    at = after
    while found := await db.read(store.after, at, _PAGE):
        at = found[-1].id
        for event in found:
            seen.add(event.id)
            if listener.hears(event.subject, event.data):
                yield frame_of(event, min(event.id, max(hub.safe, after)))
        if len(found) < _PAGE:
            return
