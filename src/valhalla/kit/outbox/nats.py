"""Publish events to JetStream, which drops repeated deliveries by their ``Nats-Msg-Id``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, Protocol

import msgspec

from valhalla.kit.outbox.events import Event

PREFIX: Final = "vh.events."


class Publisher(Protocol):
    """The part of nats-py's ``JetStreamContext`` that is used."""

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float | None = None,  # noqa: ASYNC109 - nats-py's signature
        *,
        headers: dict[str, Any] | None = None,
    ) -> Any:
        """Store one message and wait for the acknowledgement."""
        ...


class NatsSink:
    """Delivers to ``vh.events.<subject>``; a stream must capture ``vh.events.>``."""

    def __init__(self, jetstream: Callable[[], Awaitable[Publisher]], *, timeout: float = 5.0) -> None:
        """``jetstream`` returns a connected context, at every delivery; ``timeout`` in seconds per message."""
        self._jetstream = jetstream
        self._timeout = timeout

    async def deliver(self, events: Sequence[Event]) -> None:
        """Publish subjects side by side and the events of one subject one after the other."""
        context = await self._jetstream()
        by_subject = groupby(sorted(events, key=attrgetter("subject", "id")), key=attrgetter("subject"))
        async with asyncio.TaskGroup() as group:
            for _, of_subject in by_subject:
                group.create_task(self._publish(context, tuple(of_subject)))

    async def _publish(self, context: Publisher, events: Sequence[Event]) -> None:
        for event in events:
            await context.publish(
                PREFIX + event.subject,
                msgspec.json.encode(event),
                timeout=self._timeout,
                headers=_headers(event),
            )


def _headers(event: Event) -> dict[str, Any]:
    own = {"Nats-Msg-Id": event.uid}
    return own if event.traceparent is None else {**own, "traceparent": event.traceparent}
