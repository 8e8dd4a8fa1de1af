"""What is decided about alerts, without a database."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.features.observability.alerts import catalogue, rules
from valhalla.features.observability.alerts.alertmanager import rules as alertmanager
from valhalla.features.observability.alerts.alertmanager.wire import PostableAlert
from valhalla.features.observability.alerts.contracts import (
    OWN_SOURCES,
    AlertRule,
    AlertSubscription,
    Limits,
    Matcher,
    Raised,
)
from valhalla.features.observability.alerts.errors import BadMatcher
from valhalla.features.observability.alerts.grouping import Group, fold, merge
from valhalla.features.observability.alerts.intake import Intake
from valhalla.features.observability.alerts.matching import Condition, check_matchers, read_matcher
from valhalla.features.observability.alerts.recording import bounded
from valhalla.features.observability.alerts.rules import RuleSet, Subscriptions, Thresholds
from valhalla.kernel.problems import Invalid
from valhalla.kit.json import dumps

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def occurrence(name: str, at: int = 0, *, resolves: bool = False) -> Raised:
    return Raised(
        fingerprint=name,
        name=name,
        source="test",
        severity="error",
        title=name,
        at=NOW + timedelta(seconds=at),
        resolves=resolves,
    )


happened = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30)


@settings(max_examples=60, deadline=None)
@given(happened, st.integers(0, 30))
def test_groups_are_the_same_wherever_the_stream_is_cut(stream: list[tuple[str, bool]], cut: int) -> None:
    each = [occurrence(name, at, resolves=over) for at, (name, over) in enumerate(stream)]

    whole = fold(each)
    parts = merge([*fold(each[:cut]).values(), *fold(each[cut:]).values()])

    assert {key: (one.count, one.ended, one.last_at) for key, one in whole.items()} == {
        key: (one.count, one.ended, one.last_at) for key, one in parts.items()
    }


@settings(max_examples=60, deadline=None)
@given(happened, st.integers(1, 3), st.integers(1, 2))
def test_the_intake_counts_every_occurrence(stream: list[tuple[str, bool]], pending: int, sources: int) -> None:
    intake = Intake(Limits(pending=pending, sources=sources))
    for at, (name, over) in enumerate(stream):
        intake.put(occurrence(name, at, resolves=over))
    groups = intake.take()
    intake.give_back(groups)

    assert len(groups) <= pending + sources
    lost_ends = intake.dropped
    assert sum(group.count for group in intake.take()) == sum(not over for _, over in stream)
    assert lost_ends <= sum(over for _, over in stream)


@pytest.mark.parametrize("event", [kind.event for kind in catalogue.KINDS])
def test_every_kind_says_something_whatever_its_event_holds(event: str) -> None:
    for data in ({}, {"name": "{x}", "owner": None, "channel": 7, "source": ["a"]}):
        [raised] = catalogue.translate(event, data, NOW)
        assert raised.title
        assert not raised.resolves


def test_what_ends_a_kind_has_its_fingerprint() -> None:
    for kind in catalogue.KINDS:
        for ending in kind.ended_by:
            data = {"name": "a", "source": "b", "channel": "c"}
            [began] = catalogue.translate(kind.event, data, NOW)
            ended = list(catalogue.translate(ending, {**data, "more": 1}, NOW))
            assert all(one.resolves for one in ended)
            assert began.fingerprint in {one.fingerprint for one in ended}
            assert began.source in OWN_SOURCES
    assert not list(catalogue.translate("alert.opened", {"name": "a"}, NOW))


def test_one_replayed_job_of_several_ends_nothing() -> None:
    for event, still, ended in (
        ("job.replayed", [], {"job.dead", "job.held"}),
        ("job.replayed", ["dead"], {"job.held"}),
        ("job.replayed", ["dead", "held"], set[str]()),
        ("job.released", ["dead"], {"job.held"}),
    ):
        told = catalogue.translate(event, {"name": "mail", "still": still}, NOW)
        assert {one.name for one in told} == ended, (event, still)


def test_the_most_exact_rule_holds() -> None:
    ruleset = RuleSet([AlertRule(match="*"), AlertRule(match="job.*"), AlertRule(match="job.dead")])

    assert ruleset.for_name("job.dead").match == "job.dead"
    assert ruleset.for_name("job.held").match == "job.*"
    assert ruleset.for_name("disk").match == "*"


@pytest.mark.parametrize(
    "rule",
    [
        AlertRule(match=""),
        AlertRule(match="a", threshold=0),
        AlertRule(match="a", window=0.5),
        AlertRule(match="a", escalate_after=-1.0),
        AlertRule(match="a", escalate_after=float("inf")),
    ],
    ids=["pattern", "threshold", "window", "negative", "endless"],
)
def test_senseless_rules_are_refused(rule: AlertRule) -> None:
    with pytest.raises(Invalid):
        rules.check_rule(rule)


def test_a_threshold_counts_within_its_window() -> None:
    thresholds, rule = Thresholds(), AlertRule(match="*", threshold=3, window=60)

    def come(at: int) -> Group | None:
        group = Group.of(occurrence("a", at))
        return group if thresholds.reached(group, rule) else None

    assert [come(at) for at in (0, 59, 120, 130)] == [None, None, None, None]
    opened, more = come(140), come(141)
    assert opened is not None
    assert more is not None
    assert (opened.count, more.count) == (3, 1)


def test_subscriptions_ask_for_pattern_severity_and_step() -> None:
    subscribed = Subscriptions(
        {"jobs": AlertSubscription(pattern="job.*", minimum="info"), "late": AlertSubscription(events=("escalated",))}
    )

    assert subscribed.interested("job.dead", "info", "opened") == ["jobs"]
    assert subscribed.interested("job.dead", "critical", "escalated") == ["jobs", "late"]
    assert subscribed.interested("disk", "info", "escalated") == []


@pytest.mark.parametrize(
    ("text", "holds", "refuses"),
    [
        ("a=b", {"a": "b"}, {"a": "bb"}),
        ('a!="b"', {}, {"a": "b"}),
        ('a=~"b.*|c"', {"a": "bx"}, {"a": "xb"}),
        ("a!~b+", {"a": "cb"}, {"a": "bbb"}),
        ('"a b"="c\\"d"', {"a b": 'c"d'}, {"a b": "cd"}),
        ('a=""', {}, {"a": "x"}),
    ],
)
def test_matchers_as_amtool_writes_them(text: str, holds: dict[str, str], refuses: dict[str, str]) -> None:
    condition = Condition(read_matcher(text))

    assert condition.holds(holds)
    assert not condition.holds(refuses)


@pytest.mark.parametrize("text", ["", "a", "=b", "a=~(", 'a="\\x"', "a=~(?=x)", "a" * 1001 + "=b"])
def test_what_is_no_matcher_is_refused(text: str) -> None:
    with pytest.raises(BadMatcher):
        read_matcher(text)


def test_a_silence_of_everything_is_refused() -> None:
    for everything in (Matcher("a", ".*", regex=True), Matcher("a", "b", equal=False), Matcher("a", "")):
        with pytest.raises(BadMatcher):
            check_matchers([everything])
    check_matchers([Matcher("a", ".*", regex=True), Matcher("b", "c")])


def test_an_evil_expression_takes_no_time() -> None:
    condition = Condition(Matcher("a", "(a+)+b", regex=True))
    began = time.process_time()

    # Python's own engine would not come back before the end of the universe
    assert not condition.holds({"a": "a" * 1000})
    assert time.process_time() - began < 10


class TestAlertmanager:
    """What an alert that Prometheus sends means."""

    def test_without_times_it_begins_now_and_holds_five_minutes(self) -> None:
        zero = datetime(1, 1, 1, tzinfo=UTC)
        for starts, ends in ((None, None), (zero, zero)):
            got = alertmanager.raised(PostableAlert(labels={"a": "b"}, starts_at=starts, ends_at=ends), NOW)
            assert (got.starts_at, got.ends_at, got.resolves) == (NOW, NOW + timedelta(minutes=5), False)

    def test_an_end_that_has_come_resolves(self) -> None:
        for ends in (NOW, NOW - timedelta(seconds=1)):
            assert alertmanager.raised(PostableAlert(labels={"a": "b"}, ends_at=ends), NOW).resolves
        assert not alertmanager.raised(
            PostableAlert(labels={"a": "b"}, ends_at=NOW + timedelta(seconds=1)), NOW
        ).resolves

    def test_empty_labels_do_not_count_and_order_does_not_matter(self) -> None:
        one = alertmanager.raised(PostableAlert(labels={"a": "b", "c": "d", "e": ""}), NOW)
        other = alertmanager.raised(PostableAlert(labels={"c": "d", "a": "b"}), NOW)
        assert one.fingerprint == other.fingerprint
        assert one.labels == {"a": "b", "c": "d"}

    @pytest.mark.parametrize(
        "sent",
        [
            PostableAlert(labels={}),
            PostableAlert(labels={"a": ""}),
            PostableAlert(labels={"": "a"}),
            PostableAlert(labels={"a": "b"}, starts_at=NOW, ends_at=NOW - timedelta(days=1)),
            PostableAlert(labels={"a": "b" * 20_000}),
            PostableAlert(labels={str(number): "x" for number in range(101)}),
        ],
        ids=["none", "empty", "nameless", "backwards", "long", "many"],
    )
    def test_bad_ones_are_refused(self, sent: PostableAlert) -> None:
        with pytest.raises(Invalid):
            alertmanager.raised(sent, NOW)


def test_a_context_is_kept_small_and_without_secrets() -> None:
    assert bounded({"password": "x", "n": 1}) == {"password": "***", "n": 1}
    assert set(bounded({"thing": object(), "at": NOW})) == {"thing", "at"}
    for many in (8, 1000):
        huge = bounded({"password": "hunter2", **{str(number): "x" * 4000 for number in range(many)}})
        assert huge["truncated"] is True
        assert b"hunter2" not in dumps(huge)
        assert len(dumps(huge)) < 20_000
