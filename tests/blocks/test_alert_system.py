"""Alerts are grouped, bounded, and told without making anybody wait."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from valhalla import AlertSystem
from valhalla.blocks.errors import NoSuchAlert, TooManySubscribers
from valhalla.kernel.problems import Invalid

PATIENCE = 30.0


class TestBatch1:
    """What the original promised."""

    def test_an_alert_is_kept_with_its_context(self) -> None:
        alerts = AlertSystem()
        alerts.alert("payment", "declined", "error", {"order": "A-1"})
        (record,) = alerts.get_alerts()
        assert (record["task"], record["reason"], record["severity"]) == ("payment", "declined", "error")
        assert record["context"] == {"order": "A-1"}
        assert record["timestamp"].endswith("Z")

    def test_filters(self) -> None:
        alerts = AlertSystem()
        for task, severity in (("a", "info"), ("b", "critical"), ("c", "warning"), ("b", "info")):
            alerts.alert(task, f"{task} {severity}", severity)
        assert [one["task"] for one in alerts.get_alerts(severity="info")] == ["a", "b"]
        assert [one["severity"] for one in alerts.get_alerts(task_name="b")] == ["critical", "info"]
        assert [one["severity"] for one in alerts.get_alerts(minimum="warning")] == ["critical", "warning"]

    def test_a_subscriber_is_called_once(self) -> None:
        with AlertSystem() as alerts:
            told: list[dict[str, Any]] = []
            alerts.subscribe("payment", told.append)
            alerts.alert("payment", "declined")
            alerts.alert("other", "declined")
            assert alerts.flush(PATIENCE)
            assert [one["task"] for one in told] == ["payment"]

    @pytest.mark.parametrize(("limit", "expected"), [(0, []), (1, ["c"]), (2, ["b", "c"]), (9, ["a", "b", "c"])])
    def test_the_limit_is_what_it_says(self, limit: int, expected: list[str]) -> None:
        alerts = AlertSystem()
        for task in "abc":
            alerts.alert(task, "x")
        assert [one["task"] for one in alerts.get_alerts(limit=limit)] == expected

    def test_a_negative_limit_is_refused(self) -> None:
        with pytest.raises(Invalid):
            AlertSystem().get_alerts(limit=-1)


class TestGroups:
    """The same thing is one alert."""

    def test_repetitions_count(self) -> None:
        alerts = AlertSystem()
        ids = {
            alerts.alert("payment", f"order {number} failed", context={"order": number}) for number in range(1000, 1020)
        }
        (record,) = alerts.get_alerts()
        assert ids == {record["id"]}
        assert (record["count"], record["reason"], record["context"]) == (20, "order 1019 failed", {"order": 1019})
        assert (len(alerts), alerts.total) == (1, 20)

    def test_who_raises_it_can_say_what_is_the_same(self) -> None:
        alerts = AlertSystem()
        assert alerts.alert("a", "x", fingerprint="f") == alerts.alert("b", "y", fingerprint="f")

    def test_the_worst_severity_stays(self) -> None:
        alerts = AlertSystem()
        for severity in ("warning", "critical", "info"):
            alerts.alert("a", "x", severity)
        assert [(one["severity"], one["count"]) for one in alerts.get_alerts()] == [("critical", 3)]

    def test_an_unknown_severity_is_not_a_harmless_one(self) -> None:
        alerts = AlertSystem()
        alerts.alert("a", "x", "critcal")
        (record,) = alerts.get_alerts()
        assert (record["severity"], record["context"]) == ("error", {"severity_given": "critcal"})

    def test_an_acknowledged_alert_is_quiet_until_it_gets_worse(self) -> None:
        with AlertSystem() as alerts:
            told: list[tuple[str, str]] = []
            alerts.subscribe("*", lambda record: told.append((record["severity"], record["state"])))
            id_ = alerts.alert("a", "x")
            assert alerts.flush(PATIENCE)
            record = alerts.acknowledge(id_, by="ana", note="looking")
            assert (record["state"], record["by"], record["note"]) == ("acknowledged", "ana", "looking")
            for _ in range(20):
                alerts.alert("a", "x")
            alerts.alert("a", "x", "critical")
            assert alerts.flush(PATIENCE)
            assert told == [("warning", "open"), ("critical", "open")]

    def test_after_a_resolution_it_is_another_alert(self) -> None:
        alerts = AlertSystem()
        first = alerts.alert("a", "x")
        assert alerts.resolve(first, by="ana")["state"] == "resolved"
        second = alerts.alert("a", "x")
        assert first != second
        assert [(one["id"], one["count"]) for one in alerts.get_alerts(state="open")] == [(second, 1)]
        assert alerts.acknowledge(first, by="bo")["by"] == "ana"
        with pytest.raises(NoSuchAlert):
            alerts.resolve("never", by="ana")

    def test_what_it_was_about_can_change_later_and_secrets_stay_out(self) -> None:
        alerts = AlertSystem()
        items, context = [1], dict[str, Any](password="hunter2", url="redis://ana:hunter2@db")
        context["items"] = items
        alerts.alert("a", "no answer from redis://ana:hunter2@db", context=context)
        items.append(2)
        context.clear()
        (record,) = alerts.get_alerts()
        assert record["context"]["items"] == [1]
        assert "hunter2" not in str(record)
        record["context"]["items"].append(3)
        assert alerts.get_alerts()[0]["context"]["items"] == [1]

    @pytest.mark.parametrize("context", [["no", "mapping"], "text", 7])
    def test_who_raises_an_alert_never_fails_over_it(self, context: Any) -> None:
        alerts = AlertSystem()
        alerts.alert(None, ValueError("x"), object(), context)  # type: ignore[arg-type]
        assert alerts.get_alerts()[0]["reason"] == "x"


class TestSubscribers:
    """Nobody waits for a subscriber."""

    def test_patterns_and_minimum_choose(self) -> None:
        with AlertSystem() as alerts:
            told: list[tuple[str, str]] = []
            for pattern, minimum in (("payment.*", "info"), ("*", "critical"), ("job", "warning")):
                alerts.subscribe(pattern, lambda one, p=pattern: told.append((p, one["task"])), minimum=minimum)
            alerts.alert("payment.card", "x", "info")
            alerts.alert("job", "x", "info")
            alerts.alert("disk", "x", "critical")
            assert alerts.flush(PATIENCE)
            assert sorted(told) == [("*", "disk"), ("payment.*", "payment.card")]
            with pytest.raises(Invalid):
                alerts.subscribe("", print)
            with pytest.raises(Invalid):
                alerts.subscribe("*", print, minimum="loud")

    def test_one_that_hangs_delays_neither_the_caller_nor_the_others(self) -> None:
        alerts, go_on, told = AlertSystem(), threading.Event(), list[str]()
        slow = alerts.subscribe("*", lambda _: go_on.wait(PATIENCE))
        quick = alerts.subscribe("*", lambda record: told.append(record["task"]))
        for number in range(3000):
            alerts.alert(f"task-{number}", "x")
        assert quick.flush(time.monotonic() + PATIENCE)
        assert slow.delivered == 0
        assert slow.dropped >= 3000 - 1001
        assert len(told) + quick.dropped == 3000
        assert alerts.flush(0.01) is False
        go_on.set()
        alerts.close()

    def test_one_that_fails_hears_the_next(self) -> None:
        with AlertSystem() as alerts:
            told: list[str] = []

            def fail(record: dict[str, Any]) -> None:
                told.append(record["task"])
                raise SystemExit

            subscription = alerts.subscribe("*", fail)
            for task in "ab":
                alerts.alert(task, "x")
            assert alerts.flush(PATIENCE)
            assert (told, subscription.failed) == (["a", "b"], 2)

    def test_often_is_told_ten_times_as_often(self) -> None:
        with AlertSystem() as alerts:
            counts: list[int] = []
            alerts.subscribe("*", lambda record: counts.append(record["count"]))
            for _ in range(1000):
                alerts.alert("a", "x")
                alerts.flush(PATIENCE)
            assert counts == [1, 10, 100, 1000]

    def test_who_left_hears_nothing(self) -> None:
        with AlertSystem() as alerts:
            told: list[object] = []
            subscription = alerts.subscribe("*", told.append)
            subscription.unsubscribe()
            subscription.unsubscribe()
            alerts.alert("a", "x")
            assert alerts.flush(PATIENCE)
            assert told == []

    def test_there_is_a_limit(self) -> None:
        with AlertSystem() as alerts:
            for _ in range(100):
                alerts.subscribe("never", print)
            with pytest.raises(TooManySubscribers):
                alerts.subscribe("never", print)


class TestGrowth:
    """A storm leaves a bounded number of alerts, and the worst of them."""

    def test_harmless_noise_pushes_out_nothing_that_matters(self) -> None:
        alerts = AlertSystem(keep=10)
        critical = alerts.alert("disk", "full", "critical")
        resolved = alerts.alert("net", "down", "critical")
        alerts.resolve(resolved, by="ana")
        for number in range(100):
            alerts.alert(f"noise-{number}", "x", "info")
        kept = alerts.get_alerts()
        assert (len(kept), len(alerts), alerts.forgotten, alerts.total) == (10, 10, 92, 102)
        assert critical in {one["id"] for one in kept}
        assert resolved not in {one["id"] for one in kept}

    def test_a_storm_from_eight_threads_is_counted_exactly(self) -> None:
        alerts = AlertSystem()

        def storm(who: int) -> None:
            for number in range(500):
                alerts.alert(f"task-{number % 5}", "the same", "error" if who % 2 else "info")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(storm, range(8)))
        assert sum(one["count"] for one in alerts.get_alerts()) == alerts.total == 4000
        assert {one["severity"] for one in alerts.get_alerts()} == {"error"}
        assert len(alerts) == 5

    @pytest.mark.parametrize("number", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
    def test_a_storm_of_different_alerts_is_a_thousand(self, number: int) -> None:
        alerts = AlertSystem()
        for index in range(number):
            alerts.alert(f"task-{index}", "x")
        assert (len(alerts), alerts.forgotten) == (1000, number - 1000)
