"""Time: aware UTC for instants, the monotonic clock for durations."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """The system's clocks; a test passes a subclass whose time it moves."""

    def now(self) -> datetime:
        """Return the current instant, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds on a clock that never jumps; only differences mean something."""
        return time.monotonic()


def isoformat(instant: datetime) -> str:
    """Write an aware instant as RFC 3339 in UTC with a ``Z``."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
