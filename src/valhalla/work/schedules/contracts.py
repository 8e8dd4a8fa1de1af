"""Schedules as values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

CatchUp = Literal["skip", "one", "all"]
"""What becomes of runs that nobody was there for: none, one for all of them, or every one."""

Overlap = Literal["allow", "skip"]
"""What becomes of a run whose predecessor has not finished: it runs beside it, or not at all."""


class Cron(msgspec.Struct, frozen=True, tag="cron"):
    """Five cron fields, read in a time zone (``Europe/Berlin``)."""

    expression: str
    timezone: str = "UTC"


class Every(msgspec.Struct, frozen=True, tag="every"):
    """Every so many seconds of elapsed time, counted from ``start``, whatever the clocks on walls do."""

    seconds: float
    start: datetime


class Once(msgspec.Struct, frozen=True, tag="once"):
    """At one instant."""

    at: datetime


Timing = Cron | Every | Once


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When which job is submitted. ``jitter``: a run begins up to that many seconds late, at random."""

    name: str
    job: str
    timing: Timing
    args: Mapping[str, Any] = {}
    catch_up: CatchUp = "one"
    overlap: Overlap = "skip"
    jitter: float = 0.0
    paused: bool = False
    next_at: datetime | None = None
    last_at: datetime | None = None
    last_job: str | None = None
    last_error: str | None = None
