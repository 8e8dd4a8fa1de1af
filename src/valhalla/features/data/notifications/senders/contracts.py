"""What the deliverer and its senders say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from valhalla.features.data.notifications.contracts import Channel, Delivery, Outcome, Secrets

MOST_EXCERPT = 500
"""Characters of an answer that are kept."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one try. ``status`` is the other side's number, ``retry_after`` the seconds that it asked for."""

    outcome: Outcome
    status: int | None = None
    error: str | None = None
    excerpt: str | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A channel with its opened secrets; never logged."""

    channel: Channel
    secrets: Secrets


class Sender(Protocol):
    """Sends to one channel."""

    async def send(self, delivery: Delivery) -> Result:
        """Try once, within the channel's timeout. Whatever happens outside is a result; only bugs are raised."""
        ...
