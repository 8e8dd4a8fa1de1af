"""Live events: what happens, as an iterator that survives lost connections."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from valhalla.sdk.access import Model
from valhalla.sdk.errors import ApiProblem, Unreachable
from valhalla.sdk.further_calls import PublishCalls
from valhalla.sdk.groups import AsyncGroup, Group
from valhalla.sdk.wire import Request, params

if TYPE_CHECKING:
    from valhalla.sdk.aclient import AsyncClient
    from valhalla.sdk.client import Client

PATH: Final = "/events"
# the server gives a sign of life every 15 s
SILENCE: Final = 45.0
_PAUSES: Final = (0.1, 1.0, 2.0, 5.0, 10.0)
_REMEMBERED: Final = 2000
_LATER: Final = frozenset({429, 503})


class Event(Model, frozen=True, kw_only=True):
    """Something that happened. ``id`` is ``None`` for what is kept nowhere, such as a registry's new revision."""

    uid: str
    subject: str
    type: str
    at: datetime
    id: int | None = None
    data: Mapping[str, Any] = {}
    correlation_id: str | None = None


class EventPage(Model, frozen=True, kw_only=True):
    """Events, oldest first; ``next`` is where to go on. ``reset``: what came after the id is not kept any more."""

    items: tuple[Event, ...]
    next: int
    reset: bool = False


def page(topics: Sequence[str] = (), after: int | None = None, limit: int = 100) -> Request[EventPage]:
    """What happened after an id, or the newest."""
    query = params(topics=",".join(topics) or None, after=after, limit=limit)
    return Request("GET", PATH, EventPage, params={**query, "follow": "false"})


class Following:
    """Where one follower is, whatever happens to its connections: pure."""

    def __init__(self, topics: Sequence[str], after: int | None, missed: Callable[[], None] | None) -> None:
        self._topics = ",".join(topics)
        self._missed = missed
        self._seen: deque[str] = deque(maxlen=_REMEMBERED)
        self._known: set[str] = set()
        self._fields: dict[str, str] = {}
        self._failures = 0
        self.last = None if after is None else str(after)

    def query(self) -> dict[str, str]:
        """Return the parameters of the next connection."""
        return {"topics": self._topics} if self._topics else {}

    def headers(self) -> dict[str, str]:
        """Return the headers of the next connection."""
        resume = {} if self.last is None else {"Last-Event-ID": self.last}
        return {"Accept": "text/event-stream", **resume}

    def feed(self, line: str) -> Event | None:
        """Take one line; return the event that it completes, unless it was told before.

        Raises:
            ApiProblem: events were missed, and nobody said what to do then (``events-missed``).
        """
        self._failures = 0
        if line:
            name, _, value = line.partition(":")
            self._fields[name] = value.removeprefix(" ")
            return None
        fields, self._fields = self._fields, {}
        self.last = fields.get("id", self.last)
        if fields.get("event") == "reset":
            if self._missed is None:
                help_ = "Read again what you keep of the control plane, then follow from now on."
                raise ApiProblem("events-missed", 410, "events after the last id are not kept any more", help_)
            self._missed()
        if "data" not in fields or "event" in fields:
            return None
        event = msgspec.json.decode(fields["data"], type=Event)
        return event if self._is_new(event.uid) else None

    def pause(self, error: ApiProblem | Unreachable | None) -> float:
        """Return after how many seconds to connect again.

        Raises:
            ApiProblem, Unreachable: it is for good, or there never was a connection.
        """
        if isinstance(error, ApiProblem) and error.status not in _LATER:
            raise error
        if isinstance(error, Unreachable) and self.last is None:
            raise error
        self._fields = {}
        seconds = _PAUSES[min(self._failures, len(_PAUSES) - 1)]
        self._failures += 1
        return seconds

    def _is_new(self, uid: str) -> bool:
        if uid in self._known:
            return False
        if len(self._seen) == _REMEMBERED:
            self._known.discard(self._seen[0])
        self._seen.append(uid)
        self._known.add(uid)
        return True


class Events(Group, PublishCalls):
    """What happens, as far as the key may know it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def page(self, *topics: str, after: int | None = None, limit: int = 100) -> EventPage:
        """Return what happened after an id, or the newest."""
        return self._client.send(page(topics, after, limit))

    def follow(
        self, *topics: str, after: int | None = None, missed: Callable[[], None] | None = None
    ) -> Iterator[Event]:
        """Yield events as they happen, for ever: each once, over lost connections too.

        ``topics`` are beginnings of subjects (``sandbox``, ``job.<id>``, ``registry.flags``). ``missed`` is called when
        too much happened while there was no connection; without it that is an error.

        Raises:
            ApiProblem: refused, or events were missed (``events-missed``).
            Unreachable: there was no answer to the first attempt.
        """
        at = Following(topics, after, missed)
        while True:
            error: ApiProblem | Unreachable | None = None
            try:
                with self._client.lines(PATH, at.query(), at.headers(), SILENCE) as lines:
                    for line in lines:
                        if (event := at.feed(line)) is not None:
                            yield event
            except (ApiProblem, Unreachable) as problem:
                if isinstance(problem, ApiProblem) and problem.code == "events-missed":
                    raise
                error = problem
            time.sleep(at.pause(error))


class AsyncEvents(AsyncGroup, PublishCalls):
    """What happens, as far as the key may know it."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def page(self, *topics: str, after: int | None = None, limit: int = 100) -> EventPage:
        """Return what happened after an id, or the newest."""
        return await self._client.send(page(topics, after, limit))

    async def follow(
        self, *topics: str, after: int | None = None, missed: Callable[[], None] | None = None
    ) -> AsyncIterator[Event]:
        """Yield events as they happen; see ``Events.follow``."""
        at = Following(topics, after, missed)
        while True:
            error: ApiProblem | Unreachable | None = None
            try:
                async with self._client.lines(PATH, at.query(), at.headers(), SILENCE) as lines:
                    async for line in lines:
                        if (event := at.feed(line)) is not None:
                            yield event
            except (ApiProblem, Unreachable) as problem:
                if isinstance(problem, ApiProblem) and problem.code == "events-missed":
                    raise
                error = problem
            await asyncio.sleep(at.pause(error))
