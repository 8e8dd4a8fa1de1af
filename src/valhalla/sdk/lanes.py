"""Live events of sandboxes: their routes, their lanes, what they could not work on, and publishing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from valhalla.sdk.errors import ApiProblem, Unreachable
from valhalla.sdk.groups import AsyncGroup, Call, Group
from valhalla.sdk.wire import Request, params, segment

Document = dict[str, Any]
# the control plane gives a sign of life every 10 s
_SILENCE: Final = 30.0
_PAUSE: Final = 1.0


def _at(ref: str, *more: str) -> str:
    return "/".join((f"/api/sandboxes/{segment(ref)}", *more))


def routes(ref: str) -> Request[list[Document]]:
    """The routes that a sandbox has."""
    return Request("GET", _at(ref, "routes"), list[Document])


def change_routes(
    ref: str,
    *,
    link: Sequence[Mapping[str, Any]] = (),
    unlink: Sequence[Mapping[str, str]] = (),
    unread: str = "drain",
) -> Request[list[Document]]:
    """Release and claim several routes; each is ``{"kind": …, "key": …}``, a claim may have ``mode`` and ``sample``.

    ``unread`` says who gets what the sandbox has not read of released ones: ``drain`` (the sandbox), ``return``
    (production) or ``drop`` (nobody).
    """
    body = {"link": [dict(one) for one in link], "unlink": [dict(one) for one in unlink], "unread": unread}
    return Request("POST", _at(ref, "routes", "bulk"), list[Document], body=body)


def page(ref: str, *, after: int | None = None, limit: int = 100) -> Request[Document]:
    """Events of a sandbox's lane behind a sequence, oldest first, as CloudEvents."""
    return Request("GET", _at(ref, "events"), Document, params=params(after=after, limit=limit))


def dead(ref: str, *, after: int = 0, limit: int = 100) -> Request[Document]:
    """What a sandbox could not work on, and why."""
    return Request("GET", _at(ref, "events", "dead"), Document, params=params(after=after, limit=limit))


def replay(ref: str, number: int) -> Request[Document]:
    """Put a dead letter on the sandbox's lane again."""
    return Request("POST", _at(ref, "events", "dead", str(number), "replay"), Document)


def publish(events: Sequence[Mapping[str, Any]]) -> Request[list[Document]]:
    """Publish events, each on the lane of its key: ``source``, ``key``, ``type``, ``id`` and ``data``.

    All are stored when this returns; the same ``id`` of a source is stored once, so repeating it is safe.
    """
    return Request("POST", "/api/events", list[Document], body={"events": list(events)})


class _Place:
    """Where one follower is, whatever happens to its connections."""

    def __init__(self, ref: str, after: int | None) -> None:
        self.path = _at(ref, "events")
        self.after = after

    def query(self) -> dict[str, str]:
        return {"follow": "true"} | ({} if self.after is None else {"after": str(self.after)})

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


class Lanes(Group):
    """Live events of sandboxes."""

    routes = Call(routes)
    change_routes = Call(change_routes)
    page = Call(page)
    dead = Call(dead)
    replay = Call(replay)
    publish = Call(publish)

    def follow(self, ref: str, *, after: int | None = None) -> Iterator[Document]:
        """Yield events of a sandbox's lane as they come, each once, over lost connections too.

        Without ``after`` it begins with what comes now. Nothing is acknowledged: who works on them reads them over
        NATS.

        Raises:
            ApiProblem: there is no such sandbox any more, or the key may not see it.
        """
        place = _Place(ref, after)
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


class AsyncLanes(AsyncGroup):
    """Live events of sandboxes."""

    routes = Call(routes)
    change_routes = Call(change_routes)
    page = Call(page)
    dead = Call(dead)
    replay = Call(replay)
    publish = Call(publish)

    async def follow(self, ref: str, *, after: int | None = None) -> AsyncIterator[Document]:
        """Yield events of a sandbox's lane as they come; see ``Lanes.follow``."""
        place = _Place(ref, after)
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
