"""Heartbeats as values."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

Pulse = Literal["waiting", "alive", "missed"]
"""``waiting``: expected, and never heard of; that is not healthy."""

Sign = Literal["alive", "start", "fail"]
"""What a source says: it lives (or its run has ended well), its run begins, it failed."""


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What a source promises, in seconds; see ``Heartbeat``. Without a ``timeout`` it is twice the interval."""

    interval: float
    timeout: float | None = None
    grace: float | None = None

    @property
    def silence(self) -> float:
        """The seconds of silence after which it is missed."""
        return self.timeout if self.timeout is not None else 2 * self.interval


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """A source that says that it is alive, every ``interval`` seconds; silent for ``timeout`` it is missed.

    A run that said that it began must end within ``grace`` seconds (None: ``timeout``); ``took`` is how long the last
    one ran. ``reason`` says why it is missed.
    """

    name: str
    interval: float
    timeout: float
    status: Pulse
    grace: float | None = None
    reason: str | None = None
    expected_since: datetime
    last_beat_at: datetime | None
    changed_at: datetime
    started_at: datetime | None = None
    took: float | None = None
