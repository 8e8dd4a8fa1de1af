"""When messages go out: the specified schedule, quiet hours over the change of clocks, digests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from valhalla.features.data.notifications import timing
from valhalla.features.data.notifications.contracts import DAYS, Digest, Quiet

_MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))


def test_the_schedule_is_the_specified_one() -> None:
    pauses = [timing.retry_in(n, 10, 0.0) for n in range(1, 11)]
    assert pauses[0] == 5.0
    assert pauses[-1] is None
    assert timedelta(seconds=sum(each for each in pauses if each)) == timedelta(hours=75, minutes=35, seconds=5)
    assert timing.retry_in(3, 3, 0.5) is None


@given(st.integers(1, 9), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1e9)))
def test_what_the_other_side_asks_for_is_waited_at_least_and_never_for_ever(
    tried: int, drawn: float, asked: float | None
) -> None:
    pause = timing.retry_in(tried, 10, drawn, asked)
    assert pause is not None
    assert timing.SCHEDULE[tried - 1] <= pause <= max(timing.SCHEDULE[tried - 1] * 1.1, 86_400.0)
    assert asked is None or pause >= min(asked, 86_400.0)


@given(_MOMENTS, st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "UTC"]), st.booleans())
def test_quiet_hours_end_at_their_wall_clock_time_and_the_next_moment_is_loud(
    now: datetime, zone: str, over_midnight: bool
) -> None:
    quiet = Quiet("22:00", "07:00", zone) if over_midnight else Quiet("01:00", "05:30", zone)
    until = timing.quiet_until(quiet, now)
    local = now.astimezone(ZoneInfo(zone))
    clock = f"{local:%H:%M}"
    inside = (clock >= "22:00" or clock < "07:00") if over_midnight else "01:00" <= clock < "05:30"
    assert (until is not None) == inside
    if until is not None:
        assert timedelta(0) < until - now <= timedelta(hours=10)
        assert f"{until.astimezone(ZoneInfo(zone)):%H:%M}" == quiet.end
        assert timing.quiet_until(quiet, until) is None


def test_days_are_those_on_which_the_hours_begin() -> None:
    quiet = Quiet("22:00", "07:00", days=("fri",))
    assert timing.quiet_until(quiet, datetime(2026, 3, 7, 3, tzinfo=UTC)) == datetime(2026, 3, 7, 7, tzinfo=UTC)
    assert timing.quiet_until(quiet, datetime(2026, 3, 6, 3, tzinfo=UTC)) is None
    assert DAYS[datetime(2026, 3, 6, tzinfo=UTC).weekday()] == "fri"


@given(_MOMENTS, st.sampled_from([60, 300, 3600, 86_400]))
def test_digests_come_at_the_same_moments_for_everybody(now: datetime, every: int) -> None:
    due = timing.next_digest(Digest(every=every), now)
    assert now < due <= now + timedelta(seconds=every)
    assert due.timestamp() % every == 0
    daily = timing.next_digest(Digest(at="08:30", zone="Europe/Berlin"), now)
    assert now < daily <= now + timedelta(hours=25)
    assert f"{daily.astimezone(ZoneInfo('Europe/Berlin')):%H:%M}" == "08:30"
