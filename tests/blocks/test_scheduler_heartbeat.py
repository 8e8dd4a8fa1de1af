"""The heartbeat is what the watched say, on a clock that does not jump."""

from __future__ import annotations

import os
import threading
import time
from datetime import datetime
from typing import Any

import pytest
from tests.blocks.waiting import PATIENCE, until

from valhalla import SchedulerHeartbeat
from valhalla.blocks import scheduler_heartbeat
from valhalla.blocks.errors import TooManySources
from valhalla.kernel.problems import Invalid


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestBatch1:
    """What the original promised, and what it claimed without knowing."""

    def test_flags_and_health_follow_start_and_stop(self) -> None:
        heartbeat = SchedulerHeartbeat(interval=0.05, timeout=0.5)
        assert (heartbeat.is_running, heartbeat.is_healthy()) == (False, False)
        heartbeat.start()
        assert (heartbeat.is_running, heartbeat.is_healthy()) == (True, True)
        until(lambda: heartbeat.get_health_status()["total_checks"] >= 2)
        assert heartbeat.health_checks[0]["status"] == "healthy"
        heartbeat.stop()
        assert (heartbeat.is_running, heartbeat.is_healthy()) == (False, False)

    def test_the_status_has_its_documented_keys(self) -> None:
        with SchedulerHeartbeat() as heartbeat:
            heartbeat.beat()
            status = heartbeat.get_health_status()
        assert status.keys() >= {
            "is_running", "is_healthy", "last_heartbeat", "seconds_since_heartbeat", "total_checks",
        }  # fmt: skip
        assert datetime.fromisoformat(status["last_heartbeat"]).tzinfo is not None
        assert 0 <= status["seconds_since_heartbeat"] < PATIENCE

    def test_what_never_started_is_not_healthy(self) -> None:
        heartbeat = SchedulerHeartbeat()
        heartbeat.beat("worker")
        assert heartbeat.is_healthy() is False
        assert heartbeat.reason() == "nobody watches: the heartbeat does not run"

    @pytest.mark.parametrize("wrong", [{"interval": 0}, {"timeout": -1}])
    def test_numbers_make_sense(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(Invalid):
            SchedulerHeartbeat(**wrong)


class TestSources:
    """Each source has a time of its own."""

    def test_a_source_that_never_began_is_not_healthy_and_later_missed(self) -> None:
        clock, missed = Time(), list[tuple[str, float]]()
        with SchedulerHeartbeat(3600, 7200, clock=clock, on_missed=lambda *told: missed.append(told)) as heartbeat:
            heartbeat.expect("export", timeout=60)
            assert heartbeat.is_healthy() is False
            assert heartbeat.get_health_status()["sources"]["export"]["status"] == "waiting"
            clock.now += 61
            assert heartbeat.check() == ["export"]
            assert heartbeat.get_health_status()["sources"]["export"]["status"] == "missed"
        assert missed == [("export", 61.0)]

    def test_each_silence_is_told_once_and_its_end_too(self) -> None:
        clock, told = Time(), list[tuple[Any, ...]]()
        heartbeat = SchedulerHeartbeat(
            3600,
            30,
            clock=clock,
            on_missed=lambda name, _: told.append(("missed", name)),
            on_recovered=lambda name: told.append(("back", name)),
        )
        with heartbeat:
            for name in ("one", "other"):
                heartbeat.beat(name)
            for step in (29, 2, 1, 1):
                clock.now += step
                heartbeat.beat("other")
                heartbeat.check()
            assert heartbeat.reason() == "silent: one"
            heartbeat.beat("one")
            assert heartbeat.check() == []
            assert heartbeat.is_healthy()
            clock.now += 31
            assert heartbeat.check() == ["one", "other"]
        assert told == [("missed", "one"), ("back", "one"), ("missed", "one"), ("missed", "other")]

    def test_the_wall_clock_does_not_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with SchedulerHeartbeat() as heartbeat:
            heartbeat.beat()
            now = time.time()
            for jump in (3600, -3600):
                monkeypatch.setattr(scheduler_heartbeat.time, "time", lambda jump=jump: now + jump)
                assert heartbeat.is_healthy()
                assert heartbeat.check() == []

    def test_a_restart_gives_everybody_the_whole_time_again(self) -> None:
        clock = Time()
        heartbeat = SchedulerHeartbeat(3600, 30, clock=clock)
        with heartbeat:
            heartbeat.beat("worker")
        clock.now += 3600
        with heartbeat:
            assert heartbeat.check() == []
            assert heartbeat.get_health_status()["sources"]["worker"]["status"] == "waiting"
            assert heartbeat.is_healthy() is False
            heartbeat.beat("worker")
            assert heartbeat.is_healthy()

    def test_who_is_forgotten_is_not_missed(self) -> None:
        clock = Time()
        with SchedulerHeartbeat(3600, 30, clock=clock) as heartbeat:
            heartbeat.expect("gone")
            heartbeat.forget("gone")
            heartbeat.forget("never")
            clock.now += 31
            assert heartbeat.check() == []


class TestWatch:
    """The thread that looks."""

    def test_it_misses_a_source_by_itself_even_one_whose_time_is_far_shorter_than_its_interval(self) -> None:
        missed = threading.Event()
        with SchedulerHeartbeat(interval=3600, timeout=7200, on_missed=lambda *_: missed.set()) as heartbeat:
            heartbeat.expect("quick", timeout=0.02)
            assert missed.wait(PATIENCE)

    def test_a_watch_that_hangs_is_noticed(self) -> None:
        clock = Time()
        with SchedulerHeartbeat(3600, 30, clock=clock) as heartbeat:
            clock.now += 3 * 3600 + 1
            assert heartbeat.reason() == "the watch itself is silent"

    def test_a_listener_that_fails_ends_nothing(self) -> None:
        clock = Time()

        def fail(*_: object) -> None:
            raise RuntimeError("listener")

        with SchedulerHeartbeat(3600, 30, clock=clock, on_missed=fail, on_recovered=fail) as heartbeat:
            heartbeat.expect("worker")
            clock.now += 31
            assert heartbeat.check() == ["worker"]
            heartbeat.beat("worker")
            assert heartbeat.check() == []

    def test_nothing_grows(self) -> None:
        with SchedulerHeartbeat(3600, 7200) as heartbeat:
            for _ in range(300):
                heartbeat.check()
            assert len(heartbeat.health_checks) == 100
            for number in range(1000):
                heartbeat.beat(f"source-{number}")
            with pytest.raises(TooManySources):
                heartbeat.beat("one more")
            heartbeat.beat("source-7")

    def test_a_fork_is_not_watched(self) -> None:
        with SchedulerHeartbeat() as heartbeat:
            if (child := os.fork()) == 0:
                os._exit(int(heartbeat.is_healthy()))
            assert os.waitpid(child, 0)[1] == 0
            assert heartbeat.is_healthy()
