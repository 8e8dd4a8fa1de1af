"""Live events on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from valhalla.kit.http import WireModel


class EventOut(WireModel):
    """Something that happened; ``uid`` is the same in every delivery."""

    id: int | None = Field(description="null for what is not kept, such as a registry's new revision")
    uid: str
    subject: str = Field(examples=["sandbox.k3v9x0q2m1n8b7c6"])
    type: str = Field(examples=["sandbox.created"])
    data: dict[str, Any]
    correlation_id: str | None
    traceparent: str | None = Field(None, description="W3C trace context of who caused it")
    at: datetime


class EventPage(WireModel):
    """Events that happened, oldest first."""

    items: list[EventOut]
    next: int = Field(description="where to go on: 'after' of the next request, or 'Last-Event-ID' of a stream")
    reset: bool = Field(description="what came after the id that was sent is not kept any more: begin anew")


class Subscribe(WireModel):
    """What a WebSocket's client sends: the topics that it wants from now on, or a sign of life."""

    type: Literal["subscribe", "ping"]
    topics: list[str] = Field(default=[], max_length=50)
    after: int | None = Field(None, ge=0, lt=2**53)
