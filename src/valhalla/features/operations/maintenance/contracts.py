"""The values of maintenance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import msgspec

Mode = Literal["normal", "read_only", "maintenance"]
Closed = Literal["read_only", "maintenance"]
Source = Literal["default", "state", "window", "unknown"]
STRICTNESS: Final = {"normal": 0, "read_only": 1, "maintenance": 2}


class State(msgspec.Struct, frozen=True):
    """What an operator set. ``normal`` with ``until`` keeps windows from acting until then.

    ``mode`` is any text here, so that one of a newer release is read, and then taken for what closes writes.
    """

    mode: str = "normal"
    reason: str = ""
    actor: str = ""
    since: datetime | None = None
    until: datetime | None = None


class Window(msgspec.Struct, frozen=True):
    """A planned time. ``start`` and ``end`` are wall-clock times of ``zone``, so is what ``rrule`` repeats.

    The wall clock decides across a change of the offset, too: 01:00 to 04:00 ends at 04:00 whatever the hours are.
    """

    name: str
    start: datetime
    end: datetime
    zone: str = "UTC"
    rrule: str | None = None
    mode: Closed = "maintenance"
    reason: str = ""
    enabled: bool = True


class Told(msgspec.Struct, frozen=True):
    """What the events have said last, so that no process says it twice."""

    mode: str = "normal"
    source: str = "default"
    since: datetime | None = None
    until: datetime | None = None
    overdue: bool = False
    announced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Occurrence:
    """One time of a window, in UTC."""

    start: datetime
    end: datetime
    window: str
    mode: Closed
    reason: str = ""

    @property
    def name(self) -> str:
        """The occurrence's own name, the same in every process."""
        return f"{self.window}@{self.start:%Y%m%dT%H%M%SZ}"


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds from ``valid_from`` (included) to ``valid_until``; it is computed anew outside of that.

    ``until`` is when writes open again as far as is planned, ``None`` while nobody has said so.
    """

    mode: Mode
    reason: str
    source: Source
    since: datetime | None
    until: datetime | None
    valid_from: datetime
    valid_until: datetime
    notice: bytes | None = None
    window: str | None = None
