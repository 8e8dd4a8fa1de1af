"""When a schedule runs: pure, the clock is an argument."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from valhalla.work.schedules import cron
from valhalla.work.schedules.contracts import Every, Once, Schedule, Timing

LATE: Final = 60.0
"""Seconds after which a run counts as missed: ``skip`` leaves it out."""

_AT_ONCE: Final = 100


class Plan(msgspec.Struct, frozen=True):
    """What a tick does with one schedule: the runs to submit now, by their nominal instants, and the next one."""

    runs: tuple[datetime, ...]
    next_at: datetime | None


def next_run(timing: Timing, after: datetime) -> datetime | None:
    """Return the first run after ``after`` in UTC, or ``None`` when there is none any more.

    Raises:
        ValueError: the timing is not valid; says why.
    """
    if isinstance(timing, Once):
        at = _aware(timing.at)
        return at if at > after else None
    if isinstance(timing, Every):
        if not (math.isfinite(timing.seconds) and timing.seconds >= 1):
            raise ValueError("an interval must be at least one second")
        start, step = _aware(timing.start), timedelta(seconds=timing.seconds)
        return start if after < start else start + ((after - start) // step + 1) * step
    return cron.next_instant(_parsed(timing.expression), _zone(timing.timezone), after)


def next_runs(timing: Timing, after: datetime, count: int) -> list[datetime]:
    """Return the next ``count`` runs, fewer when there are no more."""
    runs: list[datetime] = []
    while len(runs) < count and (run := next_run(timing, after)) is not None:
        runs.append(run)
        after = run
    return runs


def plan(schedule: Schedule, now: datetime) -> Plan:
    """Say what is due at ``now``; each nominal instant is planned once, since ``next_at`` only ever grows."""
    due = schedule.next_at
    if due is None or due > now:
        return Plan((), due)
    if schedule.catch_up == "all":
        runs = [due]
        following = next_run(schedule.timing, due)
        while following is not None and following <= now and len(runs) < _AT_ONCE:
            runs.append(following)
            following = next_run(schedule.timing, following)
        return Plan(tuple(runs), following)
    following = next_run(schedule.timing, now)
    missed = (now - due).total_seconds() > LATE
    return Plan(() if missed and schedule.catch_up == "skip" else (due,), following)


@lru_cache(maxsize=256)
def _parsed(expression: str) -> cron.Expression:
    return cron.parse(expression)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone; write one like 'Europe/Berlin'") from error


def _aware(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("an instant needs its offset, like 2026-03-29T02:30:00+01:00")
    return instant.astimezone(UTC)
