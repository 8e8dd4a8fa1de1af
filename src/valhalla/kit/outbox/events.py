"""What is delivered, and to whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec


class Event(msgspec.Struct, frozen=True):
    """Something that happened. ``uid`` is the same in every delivery; receivers drop what they have seen."""

    id: int
    uid: str
    subject: str
    type: str
    data: Mapping[str, Any]
    correlation_id: str | None
    at: datetime
    traceparent: str | None = None
    """The span that caused it."""


class Sink(Protocol):
    """Takes events over."""

    async def deliver(self, events: Sequence[Event]) -> None:
        """Take all of ``events`` over, in order per subject; raising means that all of them are offered again."""
        ...
