"""One sink's way through the events, so that a failing one does not hold up the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from valhalla.kit.outbox.events import Event, Sink

# what a sink took before the others is remembered in memory only: a restart offers it again
_AHEAD: Final = 10_000


class Nobody:
    """The sink of a process that has none: nothing piles up."""

    async def deliver(self, events: Sequence[Event]) -> None:
        """Take them over and do nothing."""


@dataclass(eq=False)
class Lane:
    """``taken`` are the ids that this sink took and another has not yet."""

    name: str
    sink: Sink
    taken: set[int] = field(default_factory=set[int])
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    error: str | None = None

    @property
    def is_far_ahead(self) -> bool:
        """Whether this sink must wait for the slowest one."""
        return len(self.taken) >= _AHEAD
