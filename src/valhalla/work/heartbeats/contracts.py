"""Heartbeats as values."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

Pulse = Literal["waiting", "alive", "missed"]
"""``waiting``: expected, and never heard of; that is not healthy."""


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
