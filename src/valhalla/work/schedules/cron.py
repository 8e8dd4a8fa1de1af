"""Cron expressions, and the instants they name in a time zone. Pure.

Nights on which clocks change: an expression whose hour is ``*`` or ``*/n`` follows the clock on the wall, so an hour
that comes twice has its runs twice and one that does not come has none. One with fixed hours runs once a day all the
same: at the first pass of an hour that comes twice, and at the end of the gap for a time that does not come.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

import msgspec

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMES: Final = {
    "month": {name: n for n, name in enumerate(_MONTHS, 1)},
    "weekday": {name: n for n, name in enumerate(_WEEKDAYS)},
}
_RANGES: Final = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}
_MACROS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_PART: Final = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d{1,3}))?")
_YEARS: Final = 9
# no zone has moved its clock by more; a run may be this far from where the wall would have it
_SHIFT: Final = timedelta(hours=3)


class Expression(msgspec.Struct, frozen=True):
    """A parsed expression: the values each field allows."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool
    follows_wall: bool

    def falls_on(self, day: date) -> bool:
        """Say whether it runs on ``day``; as in every cron, two restricted day fields mean either."""
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return in_month and in_week
        return in_month or in_week


def parse(text: str) -> Expression:
    """Read five fields (minute, hour, day, month, weekday) or a macro such as ``@daily``.

    Raises:
        ValueError: says which field is wrong.
    """
    fields = _MACROS.get(text.strip().lower(), text).lower().split()
    if len(fields) != len(_RANGES):
        raise ValueError(f"{text!r} has {len(fields)} fields; cron has minute, hour, day, month and weekday")
    values = {name: _field(name, field) for name, field in zip(_RANGES, fields, strict=True)}
    return Expression(
        minutes=tuple(sorted(values["minute"])),
        hours=tuple(sorted(values["hour"])),
        days=values["day"],
        months=values["month"],
        weekdays=frozenset(n % 7 for n in values["weekday"]),
        any_day=fields[2].startswith("*"),
        any_weekday=fields[4].startswith("*"),
        follows_wall=fields[1].startswith("*"),
    )


def next_instant(expression: Expression, zone: tzinfo, after: datetime) -> datetime | None:
    """Return the first run after ``after`` (aware), in UTC; ``None`` if there is none within nine years."""
    best: datetime | None = None
    for wall in _walls(expression, _wall(after, zone) - _SHIFT):
        for instant in _instants(wall, zone, follows_wall=expression.follows_wall):
            if instant > after and (best is None or instant < best):
                best = instant
        # a later time on the wall may still be an earlier instant while clocks change
        if best is not None and (_is_quiet(best, zone) or wall > _wall(best, zone) + _SHIFT):
            return best
    return best


def _field(name: str, text: str) -> frozenset[int]:
    low, high = _RANGES[name]
    values: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{name}: {part!r} is not a value, a range or a step")
        if match["first"] == "*":
            if match["last"] is not None:
                raise ValueError(f"{name}: {part!r} is not a range")
            first, last = low, 6 if name == "weekday" else high
        else:
            first = _number(name, match["first"])
            last = _number(name, match["last"]) if match["last"] else high if match["step"] else first
        step = int(match["step"]) if match["step"] else 1
        if step == 0 or first > last:
            raise ValueError(f"{name}: {part!r} names nothing")
        values.update(range(first, last + 1, step))
    return frozenset(values)


def _number(name: str, text: str) -> int:
    low, high = _RANGES[name]
    value = _NAMES.get(name, {}).get(text)
    if value is None:
        value = int(text) if text.isdecimal() else -1
    if not low <= value <= high:
        raise ValueError(f"{name}: {text!r} is not within {low} to {high}")
    return value


def _walls(expression: Expression, start: datetime) -> Iterator[datetime]:
    """Yield the times on the wall that the expression names, from ``start`` (naive) on."""
    day = start.date()
    end = day.replace(year=day.year + _YEARS, day=1) if day.year + _YEARS <= 9999 else date.max
    while day < end:
        if expression.falls_on(day):
            for hour in expression.hours:
                if day == start.date() and hour < start.hour:
                    continue
                for minute in expression.minutes:
                    yield datetime.combine(day, time(hour, minute))
        day += timedelta(days=1)


def _instants(wall: datetime, zone: tzinfo, *, follows_wall: bool) -> list[datetime]:
    first = wall.replace(tzinfo=zone).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first == second:
        return [first]
    if first < second:
        return [first, second] if follows_wall else [first]
    # in the gap the two readings change places: the clock is moved between them
    return [] if follows_wall else [_moved(zone, second, first)]


def _moved(zone: tzinfo, low: datetime, high: datetime) -> datetime:
    """Return the instant between the two at which the zone's offset changes."""
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


def _is_quiet(instant: datetime, zone: tzinfo) -> bool:
    offsets = {(instant + shift).astimezone(zone).utcoffset() for shift in (-2 * _SHIFT, 2 * _SHIFT)}
    return len(offsets) == 1


def _wall(instant: datetime, zone: tzinfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)
