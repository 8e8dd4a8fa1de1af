"""The governor keeps what Batch 1's own tests assert, and not what it got wrong."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from valhalla import GovernorEnforcer
from valhalla.guard.governor import BadLimit


class TestGovernorEnforcer:
    """Never more than the limit, nothing unknown."""

    def test_what_the_original_promised(self) -> None:
        governor = GovernorEnforcer()
        governor.set_limit("api", 2, 60)
        assert governor.get_status()["api"] == {"current_actions": 0, "max_actions": 2, "denied_count": 0}
        assert governor.check_limit("api") == (True, "Action allowed")
        assert governor.get_status("api")["current_actions"] == 1
        assert governor.check_limit("api")[0]
        assert governor.check_limit("api") == (False, "Rate limit exceeded for 'api': 2/2 actions")
        assert governor.get_status("api") == {
            "resource": "api", "current_actions": 2, "max_actions": 2, "window_seconds": 60, "denied_count": 1,
        }  # fmt: skip
        assert governor.get_status("unknown") == {}
        assert [v["action_count"] for v in governor.violation_log] == [2]

    def test_what_is_unknown_is_denied(self) -> None:
        allowed, why = GovernorEnforcer().check_limit("paymnet")
        assert not allowed
        assert "paymnet" in why
        assert GovernorEnforcer(unknown="allow").check_limit("x") == (True, "No limit configured")

    def test_raising_a_limit_is_no_amnesty(self) -> None:
        governor = GovernorEnforcer()
        governor.set_limit("pay", 2)
        for _ in range(3):
            governor.check_limit("pay")
        governor.set_limit("pay", 3)
        status = governor.get_status("pay")
        assert (status["current_actions"], status["denied_count"]) == (2, 1)
        assert [governor.check_limit("pay")[0] for _ in range(2)] == [True, False]

    def test_the_window_moves(self) -> None:
        now = [0.0]
        governor = GovernorEnforcer(clock=lambda: now[0])
        governor.set_limit("pay", 1, 10)
        assert governor.check_limit("pay")[0]
        assert not governor.check_limit("pay")[0]
        assert governor.retry_after("pay") == pytest.approx(10, abs=0.01)
        now[0] = 10.01
        assert governor.get_status("pay")["current_actions"] == 0
        assert governor.check_limit("pay")[0]
        governor.refund("pay")
        assert governor.check_limit("pay")[0]

    def test_subjects_and_costs(self) -> None:
        governor = GovernorEnforcer()
        governor.set_limit("api", 3)
        assert governor.check_limit("api", "ada", 3)[0]
        assert not governor.check_limit("api", "ada")[0]
        assert governor.check_limit("api", "bob")[0]

    @pytest.mark.parametrize(("most", "window"), [(0, 60), (-1, 60), (1, 0), (1, -5), (1, float("nan"))])
    def test_limits_that_make_no_sense(self, most: int, window: float) -> None:
        with pytest.raises(BadLimit):
            GovernorEnforcer().set_limit("api", most, window)

    def test_threads_never_get_more(self) -> None:
        governor = GovernorEnforcer()
        governor.set_limit("api", 1000)
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(8) as pool:
                allowed = sum(pool.map(lambda _: sum(governor.check_limit("api")[0] for _ in range(200)), range(8)))
        finally:
            sys.setswitchinterval(before)
        assert allowed == 1000

    def test_what_callers_make_up_does_not_pile_up(self) -> None:
        governor = GovernorEnforcer()
        for number in range(3000):
            governor.check_limit(f"made-up-{number}")
        assert len(governor.violation_log) == 1000
        assert len(governor._denied) == 1
