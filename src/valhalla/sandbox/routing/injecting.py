"""Putting events onto one sandbox's lane past its routes: production's past again, and recorded sessions.

They are marked as copies, so that a release does not give them to production.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from valhalla.kernel.problems import Unavailable
from valhalla.kit.spans import span
from valhalla.sandbox.routing import envelope, subjects
from valhalla.sandbox.routing.claims import Claims
from valhalla.sandbox.routing.contracts import Event, Received
from valhalla.sandbox.routing.effects import Routing
from valhalla.sandbox.routing.errors import EventInvalid, EventsFull
from valhalla.sandbox.routing.frames import FULL, ApiError
from valhalla.sandbox.routing.reading import Reader

RECORDED: Final = "recordedid"
"""The extension that holds the id which a played event had when it was recorded."""
_MAX_ID: Final = 200


@dataclass(frozen=True, slots=True)
class Copied:
    """How much of production's past is on the lane now; ``next`` is what the following request goes on behind."""

    copied: int
    next: int
    done: bool


class Injector:
    """Writes over the connection of ``claims``. ``run`` names one replay: what is repeated under it is stored once."""

    def __init__(self, claims: Claims, reader: Reader, effects: Routing) -> None:
        self._claims = claims
        self._reader = reader
        self._effects = effects
        self.injected = 0

    async def copy(
        self,
        sandbox: str,
        kind: str,
        key: str,
        *,
        run: str,
        after: int,
        limit: int,
        since: datetime | None,
        until: datetime | None,
    ) -> Copied:
        """Copy up to ``limit`` of production's events of a key onto the lane, oldest first.

        Raises:
            EventsFull: the streams have no room.
            Unavailable: NATS does not answer; repeat it.
        """
        past = await self._reader.past(kind, key, after=after, limit=limit, since=since, until=until)
        await self._store(sandbox, [(_copy(one), f"{run}~{one.sequence}+{sandbox}") for one in past.items])
        return Copied(len(past.items), past.next, past.done)

    async def play(self, sandbox: str, events: Sequence[Event], *, run: str, first: int) -> list[int]:
        """Put recorded events onto the lane, in this order and under new ids; returns their sequences.

        ``first`` is the number of the first of them in its session.

        Raises:
            EventInvalid, EventTooLarge: one of them cannot be routed; none is stored.
            EventsFull: the streams have no room.
            Unavailable: NATS does not answer; repeat it.
        """
        fresh: list[tuple[Event, str]] = []
        for number, event in enumerate(events, first):
            own = {RECORDED: event.id[:_MAX_ID]} if event.id else {}
            renamed = replace(event, id=f"{run}-{number}", extensions={**event.extensions, **own})
            fresh.append((envelope.check(renamed), f"{run}-{number}+{sandbox}"))
        return await self._store(sandbox, fresh)

    async def _store(self, sandbox: str, events: Sequence[tuple[Event, str]]) -> list[int]:
        with span("events.inject", kind="producer", events=len(events)):
            return await self._stored(sandbox, events)

    async def _stored(self, sandbox: str, events: Sequence[tuple[Event, str]]) -> list[int]:
        await self._effects.open(sandbox)
        link, _ = await self._claims.connected()
        sending: list[asyncio.Future[int]] = []
        # all leave in this order over one connection, and the stream keeps it
        for event, msg_id in events:
            place = subjects.Place(sandbox, event.source, event.key, event.type)
            headers = envelope.read_block(envelope.headers(envelope.standing_headers(event), msg_id, mirrored=True))
            del headers[envelope.MSG_ID.lower()]
            headers[envelope.MSG_ID] = msg_id
            sending.append(asyncio.ensure_future(link.store(subjects.subject(place), event.data, headers=headers)))
        stored = await asyncio.gather(*sending, return_exceptions=True)
        sequences: list[int] = []
        for one in stored:
            if isinstance(one, ApiError):
                if one.code in FULL:
                    raise EventsFull(f"not all of the events are stored: {one}") from one
                raise Unavailable("nats", f"the lane does not take an event: {one}") from one
            if isinstance(one, BaseException):
                raise one
            sequences.append(one)
        self.injected += len(sequences)
        return sequences


def _copy(received: Received) -> Event:
    # what was stored by somebody else may have no form that we would let in
    try:
        return envelope.check(received.event)
    except EventInvalid:
        return replace(received.event, content_type="application/octet-stream", extensions={})
