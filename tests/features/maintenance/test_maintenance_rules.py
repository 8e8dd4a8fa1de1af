"""Which mode holds when: pure, against the clock of the zone and against plain looking."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from valhalla.features.operations.maintenance.calendar import calendar, escape
from valhalla.features.operations.maintenance.contracts import STRICTNESS, Occurrence, State, Told, Window
from valhalla.features.operations.maintenance.errors import BadState, BadWindow
from valhalla.features.operations.maintenance.passing import judge
from valhalla.features.operations.maintenance.recurrence import Walk, check, stored, upcoming
from valhalla.features.operations.maintenance.rules import Timetable, check_state
from valhalla.features.operations.maintenance.telling import news
from valhalla.kernel.principal import Principal

NOTICE = timedelta(minutes=15)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ZONES = ("America/Toronto", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "UTC", "America/St_Johns")


def window(start: str, end: str, **more: object) -> Window:
    made = Window("w", datetime.fromisoformat(start), datetime.fromisoformat(end), **more)  # type: ignore[arg-type]
    check(made)
    return made


def table(*windows: Window, state: State | None = None) -> Timetable:
    return Timetable(state, [Walk(one) for one in windows], NOTICE)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "opened", "closed"),
    [
        # an ordinary night, the night that is an hour short, and the one that is an hour long
        ("2026-03-07T01:00", "2026-03-07T04:00", "2026-03-07T06:00", "2026-03-07T09:00"),
        ("2026-03-08T01:00", "2026-03-08T04:00", "2026-03-08T06:00", "2026-03-08T08:00"),
        ("2026-11-01T01:00", "2026-11-01T04:00", "2026-11-01T05:00", "2026-11-01T09:00"),
        # a start that the clocks skip, and an end that would come before its start
        ("2026-03-08T02:30", "2026-03-08T04:00", "2026-03-08T07:30", "2026-03-08T08:00"),
        ("2026-03-08T02:30", "2026-03-08T03:15", "2026-03-08T07:30", "2026-03-08T08:15"),
        ("2026-11-01T01:15", "2026-11-01T01:45", "2026-11-01T05:15", "2026-11-01T05:45"),
    ],
    ids=["plain", "spring", "autumn", "skipped-start", "skipped-all", "first-of-two"],
)
def test_the_wall_clock_decides_when_the_offset_changes(start: str, end: str, opened: str, closed: str) -> None:
    (one,) = upcoming(window(start, end, zone="America/Toronto"), utc("2026-01-01"), 10)
    assert (one.start, one.end) == (utc(opened), utc(closed))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.integers(0, 24 * 60 - 1),
    st.integers(1, 20 * 60),
    st.sampled_from(["DAILY", "WEEKLY;BYDAY=SU,WE", "MONTHLY;BYDAY=-1SU", "DAILY;INTERVAL=3"]),
)
@example("America/Toronto", 150, 30, "DAILY")
def test_over_a_year_each_time_is_where_the_clocks_say(zone: str, minute: int, length: int, rule: str) -> None:
    begin = datetime(2026, 1, 4) + timedelta(minutes=minute)
    made = Window("w", begin, begin + timedelta(minutes=length), zone, f"FREQ={rule}")
    check(made)
    at = ZoneInfo(zone)
    found = Walk(made).between(utc("2026-01-01"), utc("2027-01-01"))
    assert len(found) >= 12
    walls = [one.start.astimezone(at) for one in found]
    for one, wall in zip(found, walls, strict=True):
        assert one.start < one.end
        shown = wall.replace(tzinfo=None)
        expected = shown.replace(hour=begin.hour, minute=begin.minute)
        # either the clocks show it, or they never do on that day
        real = expected.replace(tzinfo=at).astimezone(UTC).astimezone(at).replace(tzinfo=None)
        assert shown == expected or real != expected
    assert found == sorted(found)
    for one in found[:: max(1, len(found) // 10)]:
        standing = table(made).standing(one.start)
        assert (standing.mode, standing.since) == ("maintenance", one.start)
        assert table(made).standing(one.end).until != one.end


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-300, 300), st.integers(1, 300), st.sampled_from(["read_only", "maintenance"])),
        max_size=4,
    ),
    st.tuples(
        st.sampled_from(["normal", "read_only", "maintenance", "frozen"]),
        st.integers(-200, 0),
        st.one_of(st.none(), st.integers(1, 300)),
    ),
    st.integers(-250, 250),
)
def test_the_stricter_holds_and_holds_as_long_as_it_says(
    plans: list[tuple[int, int, str]], given_state: tuple[str, int, int | None], minute: int
) -> None:
    def at(minutes: int) -> datetime:
        return NOON + timedelta(minutes=minutes)

    windows = [
        Window(f"w{index}", at(start).replace(tzinfo=None), at(start + length).replace(tzinfo=None), mode=mode)  # type: ignore[arg-type]
        for index, (start, length, mode) in enumerate(plans)
    ]
    mode, since, lasts = given_state
    until = None if lasts is None else at(since + lasts)
    timetable = table(*windows, state=State(mode, "why", "me", at(since), until))

    def plainly(now: datetime) -> int:
        """Look at everything, one by one."""
        set_now = at(since) <= now and (until is None or now < until)
        rank = 0
        for one in windows:
            start, end = one.start.replace(tzinfo=UTC), one.end.replace(tzinfo=UTC)
            # an operator's normal ends what is under way; with an end it keeps everything from acting until then
            over = mode == "normal" and start <= at(since) < end and now >= at(since) and (until is None or now < until)
            over = over or (mode == "normal" and until is not None and at(since) <= now < until)
            over = over or (mode == "normal" and start <= at(since) < end <= now)
            if start <= now < end and not over:
                rank = max(rank, STRICTNESS[one.mode])
        if set_now and mode != "normal":
            rank = max(rank, STRICTNESS.get(mode, 1))
        return rank

    now = at(max(minute, since))
    standing = timetable.standing(now)
    assert STRICTNESS[standing.mode] == plainly(now)
    assert standing.valid_from == now < standing.valid_until
    last = standing.valid_until - timedelta(seconds=1)
    assert plainly(last) == STRICTNESS[standing.mode]
    later = timetable.standing(last)
    assert (later.mode, later.until, later.notice) == (standing.mode, standing.until, standing.notice)
    if standing.mode != "normal" and standing.until is not None:
        assert plainly(standing.until) == 0
        assert plainly(standing.until - timedelta(seconds=1)) > 0


def test_an_unknown_mode_closes_writes() -> None:
    standing = table(state=State("frozen", "", "me", NOON)).standing(NOON)
    assert (standing.mode, standing.source) == ("read_only", "unknown")


def test_a_window_is_named_before_it_begins_and_while_it_lasts() -> None:
    timetable = table(window("2026-06-01T13:00", "2026-06-01T14:00"))
    assert timetable.standing(NOON).notice is None
    told = b"2026-06-01T13:00:00Z/2026-06-01T14:00:00Z; mode=maintenance"
    assert timetable.standing(NOON).valid_until == NOON + timedelta(minutes=45)
    assert timetable.standing(NOON + timedelta(minutes=45)).notice == told
    assert timetable.standing(NOON + HOUR).notice == told
    assert timetable.standing(NOON + 2 * HOUR).notice is None


def test_a_normal_ends_what_is_under_way_but_not_what_is_planned_later() -> None:
    state = State("normal", "not now", "me", NOON)
    under_way = window("2026-06-01T11:00", "2026-06-01T14:00")
    for planned, mode in ((NOON - HOUR, "normal"), (NOON + HOUR, "maintenance")):
        assert Timetable(state, [Walk(under_way, planned)], NOTICE).standing(NOON + 90 * NOTICE / 15).mode == mode


@pytest.mark.parametrize(
    "change",
    [
        {"end": datetime(2026, 5, 1)},
        {"end": datetime(2026, 9, 1)},
        {"zone": "Mars/Olympus"},
        {"zone": "../../etc/passwd"},
        {"rrule": "FREQ=SECONDLY"},
        {"rrule": "FREQ=DAILY;BYHOUR=3"},
        {"rrule": "FREQ=DAILY;COUNT=2;UNTIL=20270101T000000Z"},
        {"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"},
        {"rrule": "FREQ=DAILY;BYMONTH=13"},
        {"rrule": "FREQ=DAILY;UNTIL=20200101T000000Z"},
        {"rrule": "FREQ=DAILY\nDTSTART:19700101"},
        {"rrule": "FREQ=DAILY;FREQ=DAILY"},
        {"rrule": "BYDAY=SU"},
        {"start": datetime(1, 1, 1), "end": datetime(1, 1, 2)},
        {"start": datetime(2026, 6, 1, tzinfo=UTC)},
        {"name": "Über"},
    ],
    ids=range(16),
)
def test_a_window_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    plain = {"name": "w", "start": datetime(2026, 6, 1), "end": datetime(2026, 6, 2)}
    with pytest.raises(BadWindow):
        check(Window(**{**plain, **change}))  # type: ignore[arg-type]


def test_an_end_of_the_rule_in_utc_is_set_into_the_zone() -> None:
    until = "FREQ=DAILY;UNTIL=20260603T020000Z"
    made = window("2026-06-01T22:00", "2026-06-01T23:00", zone="America/Toronto", rrule=until)
    assert [one.start for one in upcoming(made, NOON, 9)] == [utc("2026-06-02T02:00"), utc("2026-06-03T02:00")]


def test_times_with_an_offset_are_set_into_the_zone() -> None:
    assert stored(utc("2026-06-01T02:00"), "America/Toronto") == datetime(2026, 5, 31, 22)
    with pytest.raises(BadWindow):
        stored(datetime(9999, 12, 31, 23, tzinfo=UTC), "Asia/Tokyo")


@pytest.mark.parametrize(
    "state",
    [State("odd", "", "me", NOON), State("normal"), State("normal", "", "me", NOON, NOON)],
    ids=["mode", "since", "until"],
)
def test_a_state_that_cannot_be_is_refused(state: State) -> None:
    with pytest.raises(BadState):
        check_state(state)


def principal(*scopes: str) -> Principal:
    return Principal("p", "p", frozenset(scopes))


@pytest.mark.parametrize(
    ("method", "query", "scopes", "declared", "verdict"),
    [
        ("GET", b"", [], None, "read"),
        ("GET", b"", [], "write", "write"),
        ("POST", b"", ["admin"], None, "refuse"),
        ("POST", b"", None, None, "refuse"),
        ("POST", b"dry_run=true", ["sandbox:write"], None, "read"),
        ("POST", b"dry_run=true", ["maintenance:write"], "write", "read"),
        ("POST", b"dry_run=true&dry_run=false", ["sandbox:write"], None, "refuse"),
        ("POST", b"dry_run=false", ["sandbox:write"], None, "refuse"),
        ("POST", b"", ["maintenance:bypass"], None, "write"),
        ("POST", b"", ["maintenance:*"], None, "write"),
        ("POST", b"", ["maintenance:write"], None, "refuse"),
        ("POST", b"", [], "read", "read"),
        ("DELETE", b"", [], "write", "write"),
        ("PURGE", b"", ["admin"], None, "refuse"),
    ],
    ids=range(14),
)
def test_who_passes_while_writes_are_closed(
    method: str, query: bytes, scopes: list[str] | None, declared: Any, verdict: str
) -> None:
    assert judge(method, query, None if scopes is None else principal(*scopes), declared) == verdict


def test_each_thing_is_told_once() -> None:
    timetable = table(window("2026-06-02T11:00", "2026-06-02T12:00", reason="move"))
    told = Told()
    seen: list[tuple[datetime, str]] = []
    at = NOON - 3 * HOUR
    while at < NOON + 27 * HOUR:
        found = news(told, timetable, at)
        seen += [(at, kind) for kind, _ in found.events]
        told, at = found.told, at + timedelta(minutes=10)
    eleven = utc("2026-06-02T11:00")
    assert seen == [
        (eleven - 24 * HOUR, "maintenance.announced"),
        (eleven, "maintenance.changed"),
        (eleven + HOUR, "maintenance.changed"),
        (eleven + HOUR, "maintenance.ended"),
    ]


def test_a_state_without_a_plan_that_lasts_is_told_once() -> None:
    timetable = table(state=State("read_only", "why", "me", NOON))
    told, kinds = Told(), list[str]()
    for minutes in (0, 10, 29, 30, 45, 90):
        found = news(told, timetable, NOON + timedelta(minutes=minutes))
        told = found.told
        kinds += [f"{minutes} {kind}" for kind, _ in found.events]
    assert kinds == ["0 maintenance.changed", "30 maintenance.overdue"]


@given(st.text(max_size=300))
def test_no_text_breaks_out_of_the_calendar(reason: str) -> None:
    one = Occurrence(NOON, NOON + HOUR, "w", "maintenance", reason)
    text = calendar([one], NOON)
    lines = text.split("\r\n")
    assert all(len(line.encode("utf-8", "replace")) <= 75 for line in lines)
    unfolded = text.replace("\r\n ", "").split("\r\n")
    assert len(unfolded) == 6 + 10 + 1 + 1
    summary = next(line for line in unfolded if line.startswith("SUMMARY:"))
    assert summary == (f"SUMMARY:w: {escape(reason)}" if reason else "SUMMARY:w")


def test_a_calendar_escapes_what_has_a_meaning() -> None:
    assert escape("a;b,c\\d\r\ne\x00") == "a\\;b\\,c\\\\d\\ne"
