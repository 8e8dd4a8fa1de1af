"""When schedules run: against a walk over every minute, over a year with two changes of the clock."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.work.schedules import Cron, Every, Once, Schedule, next_run, next_runs
from valhalla.work.schedules.cron import parse
from valhalla.work.schedules.rules import plan

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "UTC")
MINUTE = timedelta(minutes=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=8)
def walk(zone: str) -> list[tuple[datetime, list[datetime], bool]]:
    """The minutes of the day around each change of 2026: instant, times the wall jumped over, second pass?"""
    tz = ZoneInfo(zone)
    hours = [START + timedelta(hours=n) for n in range(365 * 24)]
    changes = [b for a, b in pairwise(hours) if a.astimezone(tz).utcoffset() != b.astimezone(tz).utcoffset()]
    minutes: list[tuple[datetime, list[datetime], bool]] = []
    for middle in changes or [START + timedelta(days=100)]:
        first = middle - timedelta(hours=12)
        before = (first - MINUTE).astimezone(tz).replace(tzinfo=None)
        for n in range(24 * 60):
            instant = first + n * MINUTE
            wall = instant.astimezone(tz)
            naive = wall.replace(tzinfo=None)
            gap = []
            while before + MINUTE < naive:
                before += MINUTE
                gap.append(before)
            minutes.append((instant, gap, wall.fold == 1))
            before = naive
    return minutes


def expected(expression: str, zone: str) -> list[datetime]:
    """The runs by looking at every minute."""
    cron = parse(expression)
    tz = ZoneInfo(zone)

    def named(wall: datetime) -> bool:
        return wall.minute in cron.minutes and wall.hour in cron.hours and cron.falls_on(wall.date())

    runs: list[datetime] = []
    for instant, gap, second in walk(zone):
        here = named(instant.astimezone(tz).replace(tzinfo=None))
        if cron.follows_wall:
            if here:
                runs.append(instant)
        elif (here and not second) or any(named(wall) for wall in gap):
            runs.append(instant)
    return runs


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    return st.one_of(
        number.map(str), span, st.lists(number, min_size=1, max_size=3).map(lambda ns: ",".join(map(str, ns)))
    )


def often(low: int, high: int) -> st.SearchStrategy[str]:
    return st.one_of(st.just("*"), st.integers(2, 15).map(lambda n: f"*/{n}"), field(low, high))


@settings(max_examples=2, deadline=None)
@given(
    minute=often(0, 59),
    hour=st.one_of(often(0, 23), field(0, 4)),
    weekday=st.one_of(st.just("*"), field(0, 7)),
    zone=st.sampled_from(ZONES),
)
def test_runs_are_those_of_a_walk_over_every_minute(minute: str, hour: str, weekday: str, zone: str) -> None:
    """Around every change of the clock, for any expression: none missing, none twice, none invented."""
    expression = f"{minute} {hour} * * {weekday}"
    timing = Cron(expression, zone)
    windows: list[tuple[datetime, datetime]] = []
    for instant, _, _ in walk(zone):
        if not windows or instant - windows[-1][1] > MINUTE:
            windows.append((instant, instant))
        windows[-1] = (windows[-1][0], instant)
    found: list[datetime] = []
    for first, last in windows:
        # around the change every run is looked at, and far from it none is different from the next
        at = first + timedelta(hours=6)
        while (run := next_run(timing, at)) is not None and run <= last - timedelta(hours=6):
            found.append(run)
            at = run
    near = [
        run
        for run in expected(expression, zone)
        if any(first + timedelta(hours=6) < run <= last - timedelta(hours=6) for first, last in windows)
    ]
    assert found == near


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("time", ["30 2 * * *", "0 0 * * *", "15 3 * * *", "45 1 * * *"])
def test_a_daily_run_happens_once_on_every_day_of_the_year(zone: str, time: str) -> None:
    """Also on the day whose hour is missing and the one whose hour comes twice."""
    tz = ZoneInfo(zone)
    first = datetime(2026, 1, 1, tzinfo=tz) - MINUTE
    days = Counter(run.astimezone(tz).date() for run in next_runs(Cron(time, zone), first, 365))
    assert len(days) == 365
    assert set(days.values()) == {1}


def test_the_two_nights_of_berlin() -> None:
    """In words: the missing half past two runs at three; the hour that comes twice runs its quarter hours twice."""
    spring = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert next_run(Cron("30 2 * * *", "Europe/Berlin"), spring) == datetime(2026, 3, 29, 1, tzinfo=UTC)
    autumn = datetime(2026, 10, 24, 23, 59, tzinfo=UTC)
    quarters = next_runs(Cron("*/15 * * * *", "Europe/Berlin"), autumn, 9)
    assert [later - first for first, later in pairwise(quarters)] == [15 * MINUTE] * 8
    assert next_runs(Cron("30 2 * * *", "Europe/Berlin"), autumn, 2) == [
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 26, 1, 30, tzinfo=UTC),
    ]


def test_fields_mean_what_cron_means() -> None:
    """Names, ranges, steps, macros, leap days, and either of two day fields."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert next_run(Cron("0 9 * * mon-fri"), at) == datetime(2026, 1, 1, 9, tzinfo=UTC)
    assert next_run(Cron("0 0 29 feb *"), at) == datetime(2028, 2, 29, tzinfo=UTC)
    assert next_run(Cron("0 0 13 * fri"), at) == datetime(2026, 1, 2, tzinfo=UTC)
    assert next_run(Cron("@weekly"), at) == datetime(2026, 1, 4, tzinfo=UTC)
    assert next_run(Cron("5/20 * * * 7"), at) == datetime(2026, 1, 4, 0, 5, tzinfo=UTC)
    assert next_run(Cron("0 0 30 2 *"), at) is None
    for bad in (
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "x * * * *",
        "*-5 * * * *",
    ):
        with pytest.raises(ValueError, match=r"."):
            parse(bad)


@given(seconds=st.integers(1, 10**6), past=st.integers(0, 10**8))
def test_an_interval_keeps_its_rhythm(seconds: int, past: int) -> None:
    """Whenever it is asked, runs are whole intervals from the start."""
    after = START + timedelta(seconds=past)
    run = next_run(Every(seconds, START), after)
    assert run is not None
    assert after < run <= after + timedelta(seconds=seconds)
    assert (run - START).total_seconds() % seconds == 0


def test_one_instant_and_what_cannot_be_read() -> None:
    """It is over when it is over; an instant without an offset is nobody's."""
    assert next_run(Once(START), START - MINUTE) == START
    assert next_run(Once(START), START) is None
    for bad in (
        Once(datetime(2026, 1, 1)),
        Cron("* * * * *", "Mars/Olympus"),
        Every(0, START),
        Every(float("inf"), START),
    ):
        with pytest.raises(ValueError, match=r"."):
            next_run(bad, START)


@pytest.mark.parametrize(
    ("catch_up", "late", "runs"),
    [("skip", 30, 1), ("skip", 3601, 0), ("one", 7300, 1), ("all", 7300, 3), ("all", -1, 0)],
)
def test_what_was_missed_follows_the_policy(catch_up: str, late: int, runs: int) -> None:
    """And the next run is always after now, or due at once."""
    schedule = Schedule(name="s", job="j", timing=Every(3600, START), catch_up=catch_up, next_at=START)  # type: ignore[arg-type]
    now = START + timedelta(seconds=late)
    planned = plan(schedule, now)
    assert len(planned.runs) == runs
    assert planned.next_at is not None
    assert planned.next_at > now or runs == 0
