"""Readiness is evidence, and evidence has an age."""

from __future__ import annotations

import threading
import time

import pytest

from valhalla import SandboxReadinessChecker
from valhalla.kernel.problems import Invalid, Unavailable
from valhalla.kit.checks import Verdict

PATIENCE = 30.0


class TestBatch1:
    """What the original promised."""

    def test_all_that_pass_are_a_go(self) -> None:
        with SandboxReadinessChecker() as checker:
            checker.register_check("one", lambda: True)
            checker.register_check("other", lambda: True)
            assert checker.run_all_checks() == {"one": True, "other": True}
            assert checker.is_ready() is True

    def test_one_that_fails_is_a_no_go(self) -> None:
        with SandboxReadinessChecker() as checker:
            checker.register_check("one", lambda: True)
            checker.register_check("other", lambda: False)
            assert checker.run_all_checks() == {"one": True, "other": False}
            assert checker.is_ready() is False
            status = checker.get_status()
        assert (status["total_checks"], status["passed_checks"], status["failed_checks"]) == (2, 1, 1)
        assert status["checks"] == {"one": True, "other": False}
        assert status["last_check"].endswith("Z")
        assert status["reason"] == "other: it failed"

    def test_one_that_raises_has_failed_with_a_reason(self) -> None:
        def away() -> bool:
            raise Unavailable("postgres", "postgres at redis://ana:hunter2@db cannot be reached")

        with SandboxReadinessChecker() as checker:
            checker.register_check("database", away)
            assert checker.run_all_checks() == {"database": False}
            assert "hunter2" not in str(checker.get_status())
            assert "cannot be reached" in checker.get_status()["details"]["database"]["reason"]


class TestEvidence:
    """What nobody has looked at is not ready."""

    def test_nothing_checked_is_a_no_go(self) -> None:
        checker = SandboxReadinessChecker()
        assert checker.is_ready() is False
        assert checker.get_status()["last_check"] is None
        assert checker.run_all_checks() == {}
        assert checker.is_ready() is False

    def test_a_check_that_was_added_since_is_missing_evidence(self) -> None:
        with SandboxReadinessChecker() as checker:
            checker.register_check("one", lambda: True)
            checker.run_all_checks()
            checker.register_check("new", lambda: True)
            assert checker.is_ready() is False
            checker.run_all_checks()
            assert checker.is_ready() is True
            checker.register_check("one", lambda: False)
            assert checker.is_ready() is False
            checker.remove_check("one")
            assert checker.is_ready() is True

    def test_old_evidence_proves_nothing(self) -> None:
        with SandboxReadinessChecker(max_age=0.02) as checker:
            checker.register_check("one", lambda: True)
            assert checker.run_all_checks() == {"one": True}
            time.sleep(0.03)
            assert checker.is_ready() is False
            assert "old" in checker.get_status()["reason"]

    def test_after_the_end_nothing_is_ready(self) -> None:
        checker = SandboxReadinessChecker()
        checker.register_check("one", lambda: True)
        checker.run_all_checks()
        checker.close()
        assert checker.is_ready() is False
        assert checker.run_all_checks() == {"one": False}
        assert checker.get_status()["is_ready"] is False

    @pytest.mark.parametrize("answer", [None, 1, "yes", [True]])
    def test_an_answer_is_yes_or_no(self, answer: object) -> None:
        with SandboxReadinessChecker() as checker:
            checker.register_check("one", lambda: answer)
            assert checker.run_all_checks() == {"one": False}

    def test_what_is_not_critical_is_told_and_decides_nothing(self) -> None:
        with SandboxReadinessChecker() as checker:
            checker.register_check("one", lambda: True)
            checker.register_check("nice", lambda: Verdict(False, "the cache is cold"), critical=False)
            checker.run_all_checks()
            assert checker.is_ready() is True
            assert checker.get_status()["details"]["nice"]["reason"] == "the cache is cold"
            assert checker.get_status()["failed_checks"] == 1


class TestTime:
    """No check makes anybody wait for longer than it may."""

    def test_one_that_never_returns_is_late_and_the_others_answer(self) -> None:
        go_on, asked = threading.Event(), list[int]()

        def hang() -> bool:
            asked.append(1)
            return go_on.wait(PATIENCE)

        with SandboxReadinessChecker() as checker:
            checker.register_check("hangs", hang, timeout=0.02)
            checker.register_check("well", lambda: True)
            for _ in range(3):
                assert checker.run_all_checks() == {"hangs": False, "well": True}
            assert "no answer" in checker.get_status()["details"]["hangs"]["reason"]
            # it was asked once: a second call would hang beside the first
            assert len(asked) == 1
            go_on.set()

    def test_they_are_asked_side_by_side(self) -> None:
        meet = threading.Barrier(3)
        with SandboxReadinessChecker() as checker:
            for name in ("one", "two", "three"):
                checker.register_check(name, lambda: meet.wait(PATIENCE) >= 0, timeout=PATIENCE)
            assert all(checker.run_all_checks().values())

    async def test_async_checks_run_on_the_loop_or_without_one(self) -> None:
        async def well() -> bool:
            return True

        with SandboxReadinessChecker() as checker:
            checker.register_check("async", well)
            assert (await checker.areport()).ok
            assert checker.run_all_checks() == {"async": True}

    @pytest.mark.parametrize("wrong", [{"timeout": 0}, {"cache": -1}, {"cache": 61}])
    def test_durations_make_sense(self, wrong: dict[str, float]) -> None:
        with pytest.raises(Invalid):
            SandboxReadinessChecker().register_check("one", lambda: True, **wrong)
        with pytest.raises(Invalid):
            SandboxReadinessChecker(max_age=0)
