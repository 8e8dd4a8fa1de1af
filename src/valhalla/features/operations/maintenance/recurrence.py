"""Windows that come again: RFC 5545 rules walked on the wall clock, each time then set into its zone. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rrulestr

from valhalla.features.operations.maintenance.contracts import Occurrence, Window
from valhalla.features.operations.maintenance.errors import BadWindow
from valhalla.features.operations.maintenance.zones import DAY, naive, span, wall_of, zone_of

NAME: Final = r"[a-z0-9][a-z0-9_.-]{0,62}"
LONGEST: Final = timedelta(days=31)
MAX_RULE: Final = 300
_FIRST: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - a wall-clock time
_LAST: Final = datetime(2200, 1, 1)  # noqa: DTZ001 - a wall-clock time
# a start that moves by this is the same day of the week and of the leap cycle
_CYCLE: Final = 400
_UNTIL: Final = re.compile(r"UNTIL=(\d{8}T\d{6})Z")
_NUMBER: Final = r"[+-]?\d{1,3}"
_PARTS: Final = {
    "FREQ": re.compile("DAILY|WEEKLY|MONTHLY|YEARLY"),
    "INTERVAL": re.compile(r"[1-9]\d{0,2}"),
    "COUNT": re.compile(r"[1-9]\d{0,3}"),
    "UNTIL": re.compile(r"\d{8}(T\d{6}Z?)?"),
    "BYDAY": re.compile(r"[+-]?\d{0,2}(MO|TU|WE|TH|FR|SA|SU)(,[+-]?\d{0,2}(MO|TU|WE|TH|FR|SA|SU))*"),
    "BYMONTHDAY": re.compile(rf"{_NUMBER}(,{_NUMBER})*"),
    "BYMONTH": re.compile(r"\d{1,2}(,\d{1,2})*"),
    "BYSETPOS": re.compile(rf"{_NUMBER}(,{_NUMBER})*"),
    "WKST": re.compile("MO|TU|WE|TH|FR|SA|SU"),
}


def check(window: Window) -> None:
    """Accept a window that can be.

    Raises:
        BadWindow: it cannot.
    """
    if re.fullmatch(NAME, window.name) is None:
        raise BadWindow("a window's name is 1 to 63 of a-z, 0-9, '_', '.' and '-', a letter or digit first")
    zone = zone_of(window.zone)
    if window.start.tzinfo is not None or window.end.tzinfo is not None:
        raise BadWindow("a window is stored in wall-clock times of its zone")
    if window.end <= window.start:
        raise BadWindow(f"the window ends before it starts, on the clocks of {window.zone}")
    if window.end - window.start > LONGEST:
        raise BadWindow(f"a window is {LONGEST.days} days at most; set the state for longer")
    if not _FIRST <= window.start < _LAST:
        raise BadWindow("a window starts between the years 2000 and 2200")
    if window.rrule is not None:
        _check_rule(window.rrule, window.start, zone)


def _check_rule(text: str, start: datetime, zone: ZoneInfo) -> None:
    if len(text) > MAX_RULE:
        raise BadWindow(f"a rule is {MAX_RULE} characters at most")
    seen: set[str] = set()
    for part in text.split(";"):
        name, _, value = part.partition("=")
        form = _PARTS.get(name)
        if form is None or name in seen or form.fullmatch(value) is None:
            raise BadWindow(
                f"rrule: {part[:40]!a} is not understood; write FREQ=WEEKLY;BYDAY=SU, with {', '.join(_PARTS)}"
            )
        seen.add(name)
    if "FREQ" not in seen or {"COUNT", "UNTIL"} <= seen:
        raise BadWindow("rrule: FREQ is needed, and only one of COUNT and UNTIL")
    # a rule that never comes (30 February) would be looked for until the year 9999; near to it that is soon over
    late = start.replace(year=start.year + (9999 - start.year) // _CYCLE * _CYCLE)
    without_end = ";".join(part for part in text.split(";") if not part.startswith("UNTIL"))
    if next(iter(_rule(without_end, late, zone)), None) is None:
        raise BadWindow("rrule: there is no such day")
    if next(iter(_rule(text, start, zone)), None) is None:
        raise BadWindow("rrule: it ends before the window first comes")


def _rule(text: str, start: datetime, zone: ZoneInfo, *, cache: bool = False) -> rrule:
    def local(found: re.Match[str]) -> str:
        at = datetime.strptime(found[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        return f"UNTIL={wall_of(at, zone):%Y%m%dT%H%M%S}"

    try:
        made = rrulestr(_UNTIL.sub(local, text), dtstart=start, cache=cache)
    except (ValueError, OverflowError) as error:
        raise BadWindow(f"rrule: {error}") from error
    assert isinstance(made, rrule)
    return made


def walls(window: Window) -> Iterable[datetime]:
    """Return the starts of a window on the wall clock, in order; asked again they are remembered."""
    if window.rrule is None:
        return (window.start,)
    return _rule(window.rrule, window.start, zone_of(window.zone), cache=True)


class Walk:
    """The occurrences of one window."""

    __slots__ = ("_starts", "_zone", "planned", "window")

    def __init__(self, window: Window, planned: datetime | None = None) -> None:
        """``planned`` is when somebody last wrote the window, if that is known."""
        self.window = window
        self.planned = planned
        self._zone = zone_of(window.zone)
        self._starts = walls(window)

    def from_(self, begin: datetime) -> Iterator[Occurrence]:
        """Yield the occurrences that end after an instant, in order."""
        if not self.window.enabled:
            return
        length = self.window.end - self.window.start
        # offsets differ by a day at most
        first = wall_of(begin, self._zone) - length - DAY
        for start in self._starts:
            if start < first:
                continue
            opened, closed = span(start, start + length, self._zone)
            if closed > begin:
                yield Occurrence(opened, closed, self.window.name, self.window.mode, self.window.reason)

    def between(self, begin: datetime, end: datetime) -> list[Occurrence]:
        """Return the occurrences that touch a span of time."""
        return list(itertools.takewhile(lambda one: one.start < end, self.from_(begin)))


def upcoming(window: Window, now: datetime, most: int) -> list[Occurrence]:
    """Return the next occurrences, one that is under way included."""
    return list(itertools.islice(Walk(window).from_(now), most))


def stored(at: datetime, zone: str) -> datetime:
    """Return a time as a window keeps it: wall clock, whole seconds.

    Raises:
        BadWindow: the zone is unknown, or no clock can show this time.
    """
    try:
        return naive(at, zone_of(zone)).replace(microsecond=0)
    except OverflowError as error:
        raise BadWindow("a window starts between the years 2000 and 2200") from error
