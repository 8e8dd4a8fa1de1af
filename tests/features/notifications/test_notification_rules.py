"""What is decided about notifications: who is told, what joins what, when a channel is left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.features.data.notifications import payloads, rules
from valhalla.features.data.notifications.circuit import Circuit
from valhalla.features.data.notifications.composing import example, standing_in
from valhalla.features.data.notifications.contracts import LIFECYCLE, Channel, Digest, Item, Quiet, Rule
from valhalla.features.data.notifications.rules import Watcher
from valhalla.kit.json import loads

NOW = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)


def item(severity: Any = "error", **data: Any) -> Item:
    return Item("alert.opened", NOW, severity, "It broke", data)


@given(st.text())
def test_nothing_ends_the_line_of_a_header(text: str) -> None:
    line = rules.line(text)
    assert len(line.splitlines()) <= 1
    assert not any(each in line for each in "\r\n\x00\x0b\x0c\x85\u2028\u2029")


def test_whom_a_rule_concerns() -> None:
    watcher = Watcher.of(Rule("r", ("c",), events=("alert.*", "job.dead"), minimum="warning", where={"region": "eu"}))
    assert watcher.wants("alert.opened", "error", {"labels": {"region": "eu"}})
    assert watcher.wants("job.dead", "error", {"region": "eu"})
    assert not watcher.wants("alert.opened", "info", {"region": "eu"})
    assert not watcher.wants("alert.opened", "error", {"region": "us"})
    assert not watcher.wants("job.held", "error", {"region": "eu"})
    assert not watcher.wants("alert.opened", "error", {"region": "eu", "silenced_by": ["s"]})


def test_a_failing_channel_is_not_told_that_by_itself() -> None:
    assert rules.failing_channel("delivery.failed", {"channel": "ops"}) == "ops"
    alert = {"name": "delivery.failed", "labels": {"channel": "ops"}}
    assert rules.failing_channel("alert.opened", alert) == "ops"
    assert rules.failing_channel("alert.opened", {"name": "job.dead", "labels": {"channel": "ops"}}) is None


def test_plans() -> None:
    at_once = rules.plan(Rule("r", ("c",)), "c", item(), NOW)
    assert (at_once.due_at, at_once.bundle) == (NOW, None)
    quiet = Rule("r", ("c",), quiet=Quiet("22:00", "07:00"))
    held = rules.plan(quiet, "c", item(), NOW)
    assert held.due_at == datetime(2026, 3, 2, 7, tzinfo=UTC)
    assert held.bundle == rules.plan(quiet, "c", item("info"), NOW).bundle
    assert rules.plan(quiet, "c", item("critical"), NOW) == at_once
    grouped = Rule("r", ("c",), group_by=("region",), group_wait=30)
    first, second, third = (rules.plan(grouped, "c", item(region=each), NOW) for each in ("eu", "us", "eu"))
    assert first == third
    assert first.bundle != second.bundle
    assert first.due_at == NOW + timedelta(seconds=30)
    digest = rules.plan(Rule("r", ("c",), digest=Digest(every=3600)), "c", item(), NOW)
    assert digest.due_at == NOW + timedelta(minutes=30)
    rated = Rule("r", ("c",), rate="2/hour")
    assert rules.plan(rated, "c", item(), NOW, 1) == at_once
    assert rules.plan(rated, "c", item(), NOW, 2).due_at == NOW + timedelta(hours=1)


@given(st.lists(st.sampled_from(["failed", "ok"]), max_size=40))
def test_a_circuit_tells_each_change_once_and_lets_one_try_after_its_pause(steps: list[str]) -> None:
    circuit, now, told = Circuit(), NOW, list[str]()
    for step in steps:
        circuit = circuit.worked() if step == "ok" else circuit.failed(now, "no")
        circuit, news = circuit.news()
        if news is not None:
            told.append(news)
        assert circuit.paused_until is None or circuit.paused_until - now <= timedelta(seconds=600)
        assert circuit.is_open == (circuit.paused_until is not None)
        now = max(now, circuit.paused_until or now)
        assert circuit.allows(now)
    assert told == ["failed", "recovered"] * (len(told) // 2) + ["failed"] * (len(told) % 2)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"),
        (204, "delivered"),
        (302, "failed"),
        (404, "failed"),
        (410, "gone"),
        (400, "refused"),
        (429, "failed"),
        (503, "failed"),
    ],
)
def test_what_a_status_means(status: int, outcome: str) -> None:
    assert rules.outcome_of(status) == outcome


def test_channels_do_not_hand_a_message_to_and_fro() -> None:
    channels = {name: Channel(name, "apprise", "", fallback=other) for name, other in (("a", "b"), ("b", "a"))}
    delivery = example(item(), channel="a")
    row = standing_in(delivery, channels, NOW)
    assert row is not None
    assert (row["channel"], row["path"], row["origin"]) == ("b", ["a"], delivery.id)
    there = example(item(), channel="b")
    there = type(there)(**{name: getattr(there, name) for name in there.__struct_fields__} | {"path": ("a",)})
    assert standing_in(there, channels, NOW) is None


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=30_000), max_size=5))
def test_a_body_is_small_whatever_the_event_holds(data: dict[str, str]) -> None:
    body = payloads.standard(example(item(**{f"k{n}": value for n, value in enumerate(data.values())})))
    assert len(body) <= payloads.MOST
    assert set(loads(body)) == {"type", "timestamp", "data"}


def test_alertmanagers_form() -> None:
    delivery = example(
        item(name="job.dead", labels={"name": "import"}, fingerprint="ab", opened_at="2026-01-01T00:00:00Z")
    )
    body = loads(payloads.alertmanager(delivery, "http://valhalla"))
    assert body["version"] == "4"
    assert body["status"] == "firing"
    [alert] = body["alerts"]
    assert alert["labels"] == {"alertname": "job.dead", "severity": "error", "name": "import"}
    assert (alert["fingerprint"], alert["startsAt"]) == ("ab", "2026-01-01T00:00:00Z")


def test_the_lifecycle_ends_where_nothing_is_left_to_do() -> None:
    assert LIFECYCLE.is_terminal("delivered")
    assert LIFECYCLE.legal("dead") == ("pending",)
