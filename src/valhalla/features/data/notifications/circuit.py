"""When a failing channel is left alone, and when it is told that it fails. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

BROKEN: Final = 2
"""From so many failures in a row on, fallbacks take over."""
TELLING: Final = 3
"""From so many on, people are told that the channel fails."""
_OPENS: Final = 5
_FIRST: Final = 10.0
_LONGEST: Final = 600.0

News = Literal["failed", "recovered"]


@dataclass(frozen=True, slots=True)
class Circuit:
    """What is known of one channel; ``paused_until`` passed, one message tries whether it works again."""

    failures: int = 0
    failing_since: datetime | None = None
    paused_until: datetime | None = None
    told: bool = False
    last_error: str | None = None

    @property
    def is_broken(self) -> bool:
        """Whether messages should not only wait here."""
        return self.failures >= BROKEN

    @property
    def is_open(self) -> bool:
        """Whether only single messages are tried."""
        return self.failures >= _OPENS

    def allows(self, now: datetime) -> bool:
        """Say whether anything may be tried now."""
        return self.paused_until is None or now >= self.paused_until

    def failed(self, now: datetime, error: str, retry_after: float | None = None, *, final: bool = False) -> Circuit:
        """Return what is known after a failure; the other side may ask for a pause. A ``final`` one is told at once."""
        failures = self.failures + 1
        pause = retry_after or 0.0
        if failures >= _OPENS:
            pause = max(pause, min(_FIRST * 2 ** min(failures - _OPENS, 16), _LONGEST))
        return replace(
            self,
            failures=max(failures, TELLING) if final else failures,
            failing_since=self.failing_since or now,
            paused_until=now + timedelta(seconds=min(pause, 86_400.0)) if pause else None,
            last_error=error,
        )

    def worked(self) -> Circuit:
        """Return what is known after a success."""
        return self if self == Circuit() else Circuit(told=self.told)

    def news(self) -> tuple[Circuit, News | None]:
        """Return what is to be told of it, once, and what is known then."""
        if self.failures >= TELLING and not self.told:
            return replace(self, told=True), "failed"
        if self.failures == 0 and self.told:
            return replace(self, told=False), "recovered"
        return self, None
