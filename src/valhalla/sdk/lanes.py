"""Live events of sandboxes: their routes, their lanes, what they could not work on, and publishing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import msgspec

from valhalla.sdk.errors import ApiProblem, Unreachable
from valhalla.sdk.groups import AsyncGroup, Call, Group
from valhalla.sdk.lane_calls import (
    change_routes,
    copy_past,
    dead,
    discord_token,
    events_of,
    page,
    past,
    play_piece,
    publish,
    replay,
    routes,
)
from valhalla.sdk.sessions import Playback, Recorder, open_session
from valhalla.sdk.upstreams import drop_upstream, set_upstream, upstream
from valhalla.sdk.wire import params

Document = dict[str, Any]
# the control plane gives a sign of life every 10 s
_SILENCE: Final = 30.0
_PAUSE: Final = 1.0
_PAGE: Final = 200
_LOOK: Final = 0.2


class _Place:
    """Where one follower is, whatever happens to its connections."""

    def __init__(self, ref: str, after: int | None, since: datetime | None = None) -> None:
        self.path = events_of(ref)
        self.after = after
        self._since = since

    def query(self) -> dict[str, str]:
        return params(follow=True, after=self.after, since=None if self.after else self._since)

    def feed(self, line: str) -> Document | None:
        if not line.strip():
            return None
        event: Document = msgspec.json.decode(line)
        self.after = int(event["sequence"])
        return event

    def pause(self, error: ApiProblem | Unreachable | None) -> float:
        if isinstance(error, ApiProblem) and error.status not in (429, 503):
            raise error
        return 0.0 if error is None else _PAUSE


class _Recording:
    """Where one recording is."""

    def __init__(self, redact: Sequence[str], seconds: float) -> None:
        self.after = 0
        self.pause = 0.0
        self.goes_on = True
        self._recorder = Recorder(frozenset(name.lower() for name in redact))
        self._end = time.monotonic() + seconds
        self._head = [self._recorder.head()]

    def feed(self, found: Document) -> list[str]:
        """Return the lines of a page."""
        head, self._head = self._head, []
        items: list[Document] = found["items"]
        if items:
            self.after = int(items[-1]["sequence"])
        if len(items) < _PAGE:
            self.goes_on = time.monotonic() < self._end
            self.pause = _LOOK if self.goes_on else 0.0
        else:
            self.pause = 0.0
        return [*head, *map(self._recorder.line, items)]


class Lanes(Group):
    """Live events of sandboxes."""

    routes = Call(routes)
    change_routes = Call(change_routes)
    page = Call(page)
    past = Call(past)
    copy_past = Call(copy_past)
    play_piece = Call(play_piece)
    dead = Call(dead)
    replay = Call(replay)
    publish = Call(publish)
    set_upstream = Call(set_upstream)
    upstream = Call(upstream)
    drop_upstream = Call(drop_upstream)
    discord_token = Call(discord_token)

    def follow(self, ref: str, *, after: int | None = None, since: datetime | None = None) -> Iterator[Document]:
        """Yield events of a sandbox's lane as they come, each once, over lost connections too.

        Without ``after`` and ``since`` it begins with what comes now. Nothing is acknowledged: who works on them reads
        them over NATS.

        Raises:
            ApiProblem: there is no such sandbox any more, or the key may not see it.
        """
        place = _Place(ref, after, since)
        while True:
            error: ApiProblem | Unreachable | None = None
            try:
                with self._client.lines(place.path, place.query(), {}, _SILENCE) as lines:
                    for line in lines:
                        if (event := place.feed(line)) is not None:
                            yield event
            except (ApiProblem, Unreachable) as problem:
                error = problem
            time.sleep(place.pause(error))

    def record(
        self, ref: str, *, since: datetime | None = None, redact: Sequence[str] = (), seconds: float = 0.0
    ) -> Iterator[str]:
        """Yield the lines of a session: what the lane has now, and for so many ``seconds`` what comes.

        ``redact`` names members of data whose values are masked.

        Raises:
            ApiProblem: there is no such sandbox, or the key may not see it.
        """
        recording = _Recording(redact, seconds)
        while recording.goes_on:
            yield from recording.feed(self.page(ref, after=recording.after, limit=_PAGE, since=since))
            time.sleep(recording.pause)

    def play(self, ref: str, session: str | Path | Iterable[str], *, speed: float = 1.0) -> int:
        """Put a recorded session onto a sandbox's lane, in its order and at its pace; returns how many events.

        ``session`` is a file's path, or lines. ``speed`` 2 is twice as fast as it was, 0 as fast as can be.

        Raises:
            SessionInvalidError: it is no session; nothing was played.
            ApiProblem: the sandbox does not run, or the key may not write to it.
        """
        playback, started = Playback(speed), time.monotonic()
        for due, piece in playback.batches(open_session(session)):
            time.sleep(max(0.0, started + due - time.monotonic()))
            self.play_piece(ref, piece)
        return playback.sent

    def replay_past(
        self, ref: str, kind: str, key: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> int:
        """Copy what production has of a linked key onto the lane, as far as it has it now; returns how many events.

        Raises:
            ApiProblem: the sandbox does not run, or has no route for the key.
        """
        run, after, copied = token_hex(8), 0, 0
        while True:
            piece = self.copy_past(ref, kind, key, run=run, after=after, since=since, until=until)
            after, copied = int(piece["next"]), copied + int(piece["copied"])
            if piece["done"]:
                return copied


class AsyncLanes(AsyncGroup):
    """Live events of sandboxes."""

    routes = Call(routes)
    change_routes = Call(change_routes)
    page = Call(page)
    past = Call(past)
    copy_past = Call(copy_past)
    play_piece = Call(play_piece)
    dead = Call(dead)
    replay = Call(replay)
    publish = Call(publish)
    set_upstream = Call(set_upstream)
    upstream = Call(upstream)
    drop_upstream = Call(drop_upstream)
    discord_token = Call(discord_token)

    async def follow(
        self, ref: str, *, after: int | None = None, since: datetime | None = None
    ) -> AsyncIterator[Document]:
        """Yield events of a sandbox's lane as they come; see ``Lanes.follow``."""
        place = _Place(ref, after, since)
        while True:
            error: ApiProblem | Unreachable | None = None
            try:
                async with self._client.lines(place.path, place.query(), {}, _SILENCE) as lines:
                    async for line in lines:
                        if (event := place.feed(line)) is not None:
                            yield event
            except (ApiProblem, Unreachable) as problem:
                error = problem
            await asyncio.sleep(place.pause(error))

    async def record(
        self, ref: str, *, since: datetime | None = None, redact: Sequence[str] = (), seconds: float = 0.0
    ) -> AsyncIterator[str]:
        """Yield the lines of a session; see ``Lanes.record``."""
        recording = _Recording(redact, seconds)
        while recording.goes_on:
            for line in recording.feed(await self.page(ref, after=recording.after, limit=_PAGE, since=since)):
                yield line
            await asyncio.sleep(recording.pause)

    async def play(self, ref: str, session: str | Path | Iterable[str], *, speed: float = 1.0) -> int:
        """Put a recorded session onto a sandbox's lane; see ``Lanes.play``."""
        playback, started = Playback(speed), time.monotonic()
        read = await asyncio.to_thread(open_session, session)
        for due, piece in playback.batches(read):
            await asyncio.sleep(max(0.0, started + due - time.monotonic()))
            await self.play_piece(ref, piece)
        return playback.sent

    async def replay_past(
        self, ref: str, kind: str, key: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> int:
        """Copy what production has of a linked key onto the lane; see ``Lanes.replay_past``."""
        run, after, copied = token_hex(8), 0, 0
        while True:
            piece = await self.copy_past(ref, kind, key, run=run, after=after, since=since, until=until)
            after, copied = int(piece["next"]), copied + int(piece["copied"])
            if piece["done"]:
                return copied
