"""What the API says and takes about routes and events."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any

import msgspec
from pydantic import AwareDatetime, Field

from valhalla.kit.http import WireModel
from valhalla.sandbox import rules
from valhalla.sandbox.contracts import Route
from valhalla.sandbox.routing.contracts import Event, Mode, Unread
from valhalla.sandbox.routing.errors import EventInvalid


class LinkIn(WireModel):
    """A route to claim, and how."""

    kind: str = Field(max_length=63, examples=["discord.guild"])
    key: str = Field(max_length=128, examples=["811234567890123456"])
    mode: Mode = Field(
        "steal",
        description="steal: the events are the sandbox's; mirror: it gets copies; replay: it may read past ones again",
    )
    sample: float = Field(1.0, ge=0, le=1, description="the part of the events that a mirror copies")

    def checked(self, pointer: str) -> Route:
        """Return the route.

        Raises:
            Invalid: it is none.
        """
        return rules.check_terms(self.kind, self.key, self.mode, self.sample, pointer)


class UnlinkIn(WireModel):
    """A route to release."""

    kind: str = Field(max_length=63, examples=["discord.guild"])
    key: str = Field(max_length=128, examples=["811234567890123456"])


class RoutesIn(WireModel):
    """Routes to release and to claim; each list in one transaction, the released first."""

    unlink: list[UnlinkIn] = Field(default_factory=list[UnlinkIn], max_length=50)
    link: list[LinkIn] = Field(
        default_factory=list[LinkIn],
        max_length=50,
        examples=[[{"kind": "tenant", "key": "acme", "mode": "mirror", "sample": 0.1}]],
    )
    unread: Unread = Field("drain", description="who gets the unread events of released routes")


class HeldRoute(WireModel):
    """A route that a sandbox has."""

    kind: str
    key: str
    linked_at: datetime | None
    mode: Mode
    sample: float

    @classmethod
    def of(cls, route: Route) -> HeldRoute:
        """Return the model."""
        return cls(kind=route.kind, key=route.key, linked_at=route.linked_at, mode=route.mode, sample=route.sample)


class EventIn(WireModel):
    """One event to publish. ``id`` is the source's own: the same id is published once."""

    source: str = Field(max_length=96, examples=["tenant"])
    key: str = Field(max_length=128, examples=["acme"])
    type: str = Field(max_length=128, examples=["invoice.paid"])
    id: str = Field(max_length=200, examples=["evt_1"])
    time: datetime | None = None
    data: Any = None
    data_base64: str | None = None
    datacontenttype: str | None = Field(None, max_length=200)
    traceparent: str | None = Field(None, max_length=512)
    baggage: str | None = Field(None, max_length=8192)
    extensions: dict[str, str] = Field(default_factory=dict[str, str], max_length=20)

    def event(self) -> Event:
        """Return the event.

        Raises:
            EventInvalid: both kinds of data, or none that can be read.
        """
        if self.data_base64 is not None and self.data is not None:
            raise EventInvalid("an event has 'data' or 'data_base64'", member="data")
        try:
            data = (
                msgspec.json.encode(self.data)
                if self.data_base64 is None
                else base64.b64decode(self.data_base64, validate=True)
            )
        except (binascii.Error, ValueError) as error:
            raise EventInvalid("'data_base64' is not base64", member="data_base64") from error
        media = self.datacontenttype or ("application/json" if self.data_base64 is None else "application/octet-stream")
        return Event(
            self.source,
            self.key,
            self.type,
            data,
            self.id,
            time=self.time,
            content_type=media,
            traceparent=self.traceparent,
            baggage=self.baggage,
            extensions=self.extensions,
        )


class PublishIn(WireModel):
    """Events to publish, in this order."""

    events: list[EventIn] = Field(
        min_length=1,
        max_length=500,
        examples=[[{"source": "tenant", "key": "acme", "type": "invoice.paid", "id": "evt_1", "data": {"n": 1}}]],
    )


class PublishedOut(WireModel):
    """Where an event was stored; ``sandbox`` is null on production's lane."""

    sequence: int
    duplicate: bool
    sandbox: str | None


class LaneOut(WireModel):
    """A page of a lane, oldest first; ``next`` is what comes ``after`` it."""

    items: list[dict[str, Any]]
    next: int
    lag: dict[str, int]


class PastOut(WireModel):
    """A page of what production has of a key, oldest first; ``done``: nothing follows now."""

    items: list[dict[str, Any]]
    next: int
    done: bool


Run = Annotated[str, Field(pattern="^[a-z0-9]{8,32}$", description="names this replay: repeated, it is stored once")]


class ReplayIn(WireModel):
    """Which of production's events of a key come onto the lane again; go on with the ``next`` of the answer."""

    kind: str = Field(max_length=63, examples=["tenant"])
    key: str = Field(max_length=128, examples=["acme"])
    run: Run = Field(examples=["k3v9x0q2m1n8b7c6"])
    since: AwareDatetime | None = Field(None, description="the oldest that there is when absent")
    until: AwareDatetime | None = None
    after: int = Field(0, ge=0, lt=2**53, description="the ``next`` of the answer before")
    limit: int = Field(200, ge=1, le=500)


class CopiedOut(WireModel):
    """How many came onto the lane; ``done``: nothing follows now."""

    copied: int
    next: int
    done: bool


class PlayIn(WireModel):
    """Recorded events for one sandbox's lane, in this order; each gets a new id."""

    run: Run = Field(examples=["k3v9x0q2m1n8b7c6"])
    first: int = Field(0, ge=0, lt=2**53, description="the number of the first of them in its session")
    events: list[EventIn] = Field(
        min_length=1,
        max_length=500,
        examples=[[{"source": "tenant", "key": "acme", "type": "invoice.paid", "id": "evt_1", "data": {"n": 1}}]],
    )


class PlayedOut(WireModel):
    """The sequences of the events on the lane."""

    sequences: list[int]


class DeadOut(WireModel):
    """A page of dead letters."""

    items: list[dict[str, Any]]
    next: int


class ReplayedOut(WireModel):
    """The sequence of the event that a dead letter became again."""

    sequence: int
