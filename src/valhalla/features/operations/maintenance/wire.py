"""Maintenance on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from valhalla.features.operations.maintenance.contracts import Closed, Mode, Source
from valhalla.kit.http import WireModel


def _writable(text: str) -> str:
    if "\x00" in text or not text.isprintable():
        raise ValueError("a reason is one line of printable text")
    return text


Reason = Annotated[str, Field(max_length=500), AfterValidator(_writable)]


class StateIn(WireModel):
    """The mode to be."""

    mode: Mode
    reason: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_writable)]
    until: datetime | None = Field(None, description="then it ends by itself; with its offset from UTC")

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"mode": "read_only", "reason": "moving the database"}]},
    )


class StateOut(WireModel):
    """What an operator has set last, and what holds."""

    mode: Mode = Field(description="what holds now, of state and windows the stricter")
    reason: str
    source: Source = Field(description="what made it so")
    window: str | None
    since: datetime | None
    until: datetime | None = Field(description="when writes open again as far as is planned")
    set_mode: str = Field(description="what was set, also if it has run out since")
    set_reason: str
    set_by: str | None
    set_at: datetime | None
    set_until: datetime | None
    version: int = Field(description="the ETag names it; 0: never set")


class OccurrenceOut(WireModel):
    """One time of a window."""

    window: str
    mode: Closed
    reason: str
    start: datetime
    end: datetime


class OccurrencesOut(WireModel):
    """The times of all windows within some days, in order."""

    since: datetime = Field(alias="from")
    until: datetime
    items: list[OccurrenceOut]
    more: bool = Field(description="whether there are more than are listed")


class MaintenanceOut(StateOut):
    """The state, and what is planned."""

    upcoming: list[OccurrenceOut] = Field(description="the next ten within 92 days, those under way included")


class WindowModel(WireModel):
    """A planned time as clients write it."""

    start: datetime = Field(
        examples=["2026-12-06T02:00:00"],
        description="on the clocks of `zone`; one with an offset from UTC is set into them",
    )
    end: datetime = Field(examples=["2026-12-06T04:00:00"], description="likewise; the first one's when it repeats")
    zone: str = Field("UTC", max_length=64, examples=["America/Toronto"], description="of the IANA database")
    rrule: str | None = Field(
        None,
        max_length=300,
        examples=["FREQ=WEEKLY;BYDAY=SU"],
        description="how it repeats (RFC 5545), by days or more",
    )
    mode: Closed = "maintenance"
    reason: Reason = ""
    enabled: bool = True


class WindowState(WireModel):
    """What is only shown of a window."""

    next_start: datetime | None = Field(description="of the time that is under way or comes next, in UTC")
    next_end: datetime | None


class PreviewIn(WindowModel):
    """A window to think through."""

    after: datetime | None = Field(None, description="from when on; now when absent")


class Preview(WireModel):
    """The next times of a window."""

    items: list[OccurrenceOut]


class StateChangeOut(WireModel):
    """One change of the state."""

    revision: int
    mode: str
    reason: str
    actor: str
    at: datetime
    until: datetime | None


class StatePage(WireModel):
    """One page of the state's history, newest first."""

    items: list[StateChangeOut]
    next: str | None
