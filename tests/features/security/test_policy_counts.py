"""What is counted for policies, and the modes that they raise."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.security.policies import ADMIN, NOW

from valhalla.features.security.policies import rules
from valhalla.features.security.policies.contracts import ModeState
from valhalla.features.security.policies.counting import Answered, Counters, counter_of
from valhalla.features.security.policies.errors import BadMode
from valhalla.kernel.clock import Clock


class Watch(Clock):
    """A clock that tests move."""

    at = 1000.0

    def monotonic(self) -> float:
        return self.at


@given(st.lists(st.tuples(st.floats(0, 200), st.sampled_from(["203.0.113.7", "203.0.113.8"])), max_size=60))
@settings(max_examples=30, deadline=None)
def test_counts_are_exact_in_their_windows(steps: list[tuple[float, str]]) -> None:
    clock = Watch()
    counters = Counters(clock)
    happened: list[tuple[float, str]] = []
    for pause, address in steps:
        clock.at += pause
        counters.note("scans", address)
        happened.append((clock.at, address))
        for each in ("203.0.113.7", "203.0.113.8"):
            ages = [clock.at - at for at, whose in happened if whose == each]
            found = counters.of(each) or rules.no_counts()
            assert found["scans_hour"] == sum(age <= 3600 for age in ages)
            assert found["scans"] == sum(age <= 60 for age in ages)


def test_counters_are_bounded_and_an_ipv6_network_is_one() -> None:
    clock = Watch()
    counters = Counters(clock, most=100)
    for number in range(1000):
        counters.note("failed_auth", f"10.0.{number // 250}.{number % 250}")
    assert (len(counters), counters.evicted) == (100, 900)
    for number in range(300):
        counters.note("failed_auth", f"2001:db8::{number:x}")
    found = counters.of("2001:db8::ffff")
    assert found is not None
    assert found["failed_auth"] == 256
    clock.at += 3601
    assert counters.of("2001:db8::1") is None
    for _ in range(60):
        counters.note("scans", "192.0.2.1")
    assert len(counters) == 1


@pytest.mark.parametrize(
    ("status", "route", "has_key", "is_known", "counter"),
    [
        (401, "/api/x", True, False, "failed_auth"),
        (401, "", False, False, "scans"),
        (401, "/api/x", False, False, None),
        (404, "", True, True, "scans"),
        (404, "/api/x", True, True, None),
        (405, "/x", False, False, "scans"),
        (403, "/x", True, True, "denied"),
        (422, "/x", True, True, None),
    ],
)
def test_an_answer_counts_as_what_it_was(
    status: int, route: str, has_key: bool, is_known: bool, counter: str | None
) -> None:
    assert counter_of(Answered("203.0.113.7", route, status, has_key, is_known)) == counter


def test_a_policy_raises_the_mode_and_never_lowers_or_shortens_it() -> None:
    hour = NOW + timedelta(hours=1)
    elevated = rules.raised(ModeState(), "elevated", hour, NOW, "why", "policy:p")
    assert elevated is not None
    assert rules.standing(elevated, NOW).mode == "elevated"
    assert rules.standing(elevated, hour).mode == "normal"
    assert rules.raised(elevated, "elevated", hour, NOW, "", "") is None
    assert rules.raised(elevated, "elevated", hour - timedelta(minutes=30), NOW, "", "") is None
    longer = rules.raised(elevated, "elevated", hour + timedelta(minutes=5), NOW, "", "")
    assert longer is not None
    assert (longer.until, longer.reason) == (hour + timedelta(minutes=5), "why")
    lockdown = rules.raised(elevated, "lockdown", hour, NOW, "worse", "policy:q")
    assert lockdown is not None
    assert rules.raised(lockdown, "elevated", hour + timedelta(days=1), NOW, "", "") is None
    assert rules.standing(ModeState("paranoid", until=hour), NOW).mode == "lockdown"


def test_people_say_for_how_long() -> None:
    for mode, lasting in [("elevated", None), ("lockdown", timedelta(days=8)), ("normal", timedelta(hours=1))]:
        with pytest.raises(BadMode):
            rules.set_by_person(mode, lasting, NOW, "why", ADMIN)  # type: ignore[arg-type]
