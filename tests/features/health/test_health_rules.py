"""When readiness turns, and what spans a history has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.features.observability.health import rules
from valhalla.kernel.problems import Invalid
from valhalla.kit.checks import Report, Result

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _report(ok: bool) -> Report:
    result = Result("x", ok, None if ok else "gone")
    return Report(ok, None if ok else "x: gone", (result, Result("y", False, "late", critical=False)))


@given(st.lists(st.booleans(), max_size=30))
def test_every_turn_is_told_once(looks: list[bool]) -> None:
    """What is told alternates and begins with a loss; what was told last is how it is."""
    turns: list[rules.Turn] = []
    for second, ok in enumerate(looks):
        found = rules.turn(turns[-1] if turns else None, _report(ok), now=NOW + timedelta(seconds=second))
        if found is not None:
            turns.append(found)
    assert [turn.ready for turn in turns] == [bool(number % 2) for number in range(len(turns))]
    assert (turns[-1].ready if turns else True) == (looks[-1] if looks else True)
    assert all(turn.reasons == {} if turn.ready else turn.reasons == {"x": "gone"} for turn in turns)


def test_how_long_it_lasted() -> None:
    lost = rules.turn(None, _report(False), now=NOW)
    assert lost is not None
    regained = rules.turn(lost, _report(True), now=NOW + timedelta(seconds=90))
    assert regained is not None
    assert (lost.type, regained.type, regained.lasted) == ("readiness.lost", "readiness.regained", 90)
    assert rules.turn(lost, _report(True), now=NOW - timedelta(hours=1)).lasted == 0  # type: ignore[union-attr]


def test_a_loss_without_a_failing_check_has_a_reason() -> None:
    """When nothing is checked, or all is closed."""
    assert rules.reasons(Report(False, "it is closed", ())) == {"readiness": "it is closed"}


def test_the_status() -> None:
    assert rules.status(_report(False)) == "fail"
    assert rules.status(_report(True)) == "warn"
    assert rules.status(Report(True, None, (Result("x", True),))) == "pass"


@given(st.floats(min_value=1, max_value=31 * 86_400))
def test_a_span_has_few_points(seconds: float) -> None:
    start, end, step = rules.span(NOW - timedelta(seconds=seconds), None, None, now=NOW)
    assert (end, step % 10) == (NOW, 0)
    assert (end - start).total_seconds() / step <= 201


def test_spans_that_make_no_sense() -> None:
    for start, end, step in (
        (NOW, NOW, None),
        (NOW, NOW - timedelta(seconds=1), None),
        (NOW - timedelta(days=32), NOW, None),
        (NOW - timedelta(days=7), NOW, 10.0),
    ):
        with pytest.raises(Invalid):
            rules.span(start, end, step, now=NOW)
    assert rules.span(None, None, None, now=NOW) == (NOW - timedelta(hours=1), NOW, 20.0)
