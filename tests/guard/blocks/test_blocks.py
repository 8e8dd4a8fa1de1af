"""The blocks keep what Batch 1's own tests assert, and not what it got wrong."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import valhalla
from valhalla import DryRunLock, GovernorEnforcer, IdempotencyManager, RetryBackoffManager
from valhalla.guard import BadArguments, BadName, Guard, Held, KeyReuse
from valhalla.guard.blocks import journal
from valhalla.guard.governor import BadLimit
from valhalla.kernel.problems import Invalid


class TestDryRunLock:
    """Held by default."""

    def test_what_the_original_promised(self) -> None:
        ran: list[str] = []
        lock = DryRunLock(dry_run=True)
        answer = lock.execute("payment", lambda: ran.append("payment"))
        assert answer == {"dry_run": True, "action": "payment", "result": None}
        assert ran == []
        assert lock.execute("read_data", lambda: [1]) == [1]
        assert DryRunLock(dry_run=False).execute("payment", lambda x: x + 1, 1) == 2
        with pytest.raises(PermissionError, match="payment"):
            DryRunLock(strict_mode=True).execute("payment", lambda: ran.append("strict"))
        assert ran == []
        (entry,) = lock.get_execution_log("payment")
        assert entry["status"] == "dry_run_blocked"
        assert set(lock.get_execution_log()) == {"payment", "read_data"}
        assert lock.get_execution_log("never") == []

    @pytest.mark.parametrize(
        "name",
        ["payments", "PAYMENT ", "Payment", "process_payment", "wire_transfer", "delete", "drop_table", "send_email",
         "p\u0430yment", "Read_data", "read_data ", " read_data", "re\u0430d_data", "", "read", "xread_data"],
    )  # fmt: skip
    def test_names_that_ran_for_real_are_held(self, name: str) -> None:
        ran: list[int] = []
        assert DryRunLock().execute(name, lambda: ran.append(1))["dry_run"] is True
        assert ran == []

    def test_an_irreversible_action_inside_a_reversible_one_is_held(self) -> None:
        ran: list[str] = []
        guard = Guard()
        lock = DryRunLock(guard=guard)

        @guard.action("wire", key="order")
        def wire(order: str) -> None:
            ran.append(order)

        def report() -> str:
            assert lock.execute("payment", lambda: ran.append("nested"))["dry_run"] is True
            with pytest.raises(Held):
                wire("o-1")
            return "report"

        assert lock.execute("read_report", report) == "report"
        assert ran == []

    def test_what_may_run_is_a_setting(self) -> None:
        lock = DryRunLock(reversible=["preview"], reversible_prefixes=())
        assert lock.execute("preview", lambda: 1) == 1
        assert lock.execute("read_data", lambda: 1)["dry_run"] is True
        with pytest.raises(BadName):
            DryRunLock(reversible=["Preview "])

    def test_leaving_the_dry_run_is_written_down(self) -> None:
        lock = DryRunLock()
        with pytest.raises(AttributeError):
            lock.dry_run = False  # type: ignore[misc]
        lock.go_live(by="ada", reason="rehearsed")
        assert lock.execute("payment", lambda: 7) == 7
        lock.go_dry(by="ada", reason="done")
        assert lock.execute("payment", lambda: 7) != 7
        assert [(e["status"], e["by"]) for e in lock.get_execution_log("dry_run")] == [
            ("dry_run_off", "ada"),
            ("dry_run_on", "ada"),
        ]

    def test_the_log_has_no_secrets_and_an_end(self) -> None:
        lock = DryRunLock()
        lock.execute("payment", print, "4111 1111 1111 1111", password="hunter2", action="own")
        (entry,) = lock.get_execution_log("PAYMENT ")
        assert "4111" not in str(entry)
        assert "hunter2" not in str(entry)
        entry["status"] = "changed"
        assert lock.get_execution_log("payment")[0]["status"] == "dry_run_blocked"
        for number in range(journal.NAMES + 50):
            lock.execute(f"action{number}", print)
        assert len(lock.get_execution_log()) == journal.NAMES

    def test_errors_come_through(self) -> None:
        lock = DryRunLock(dry_run=False)
        with pytest.raises(ZeroDivisionError):
            lock.execute("compute", lambda: 1 / 0)
        assert lock.get_execution_log("compute")[0]["status"] == "error"


class TestRetryBackoffManager:
    """Attempts, pauses, ends."""

    def test_what_the_original_promised(self) -> None:
        manager = RetryBackoffManager(max_retries=2, base_delay=0.001)
        answers = iter([RuntimeError("once"), "fine"])

        def work() -> str:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        assert manager.execute_with_retry(work, "work") == "fine"
        assert [e["status"] for e in manager.get_retry_log("work")] == ["failed", "success"]
        calls: list[int] = []
        with pytest.raises(RuntimeError, match="always"):
            manager.execute_with_retry(_always(calls, RuntimeError("always")), task_name="broken")
        assert len(calls) == 3
        assert set(manager.get_retry_log()) == {"work", "broken"}

    def test_a_programming_error_is_not_repeated(self) -> None:
        calls: list[int] = []
        with pytest.raises(TypeError):
            RetryBackoffManager(base_delay=0.001).execute_with_retry(_always(calls, TypeError("bug")), "bug")
        assert len(calls) == 1

    def test_per_call_settings(self) -> None:
        manager = RetryBackoffManager(base_delay=0.001)
        calls: list[int] = []
        with pytest.raises(OSError, match="x"):
            manager.execute_with_retry(_always(calls, OSError("x")), "io", max_retries=1, jitter=False)
        assert len(calls) == 2
        calls.clear()
        with pytest.raises(OSError, match="x"):
            manager.execute_with_retry(_always(calls, OSError("x")), "io", retry_on=ValueError)
        assert len(calls) == 1
        assert manager.execute_with_retry(lambda a, *, b: (a, b), "args", 1, b=2) == (1, 2)

    @pytest.mark.parametrize("wrong", [{"max_retries": -1}, {"base_delay": 0}, {"max_delay": -1}])
    def test_numbers_that_make_no_sense(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(Invalid):
            RetryBackoffManager(**wrong)
        with pytest.raises(Invalid):
            RetryBackoffManager().execute_with_retry(print, "x", max_retries=-1)

    def test_jitter_stays_below_the_cap(self) -> None:
        """2,000 pauses of a late attempt."""
        from tenacity import wait_random_exponential

        from valhalla.guard.retry import Retry

        retry = Retry(base=1, cap=60, wait=wait_random_exponential(multiplier=1, max=60, exp_base=2))
        pauses = [retry.pause(12, OSError()) for _ in range(2000)]
        assert max(pauses) <= 60
        assert min(pauses) < 10

    def test_a_pause_can_be_ended(self) -> None:
        manager = RetryBackoffManager(base_delay=60, max_delay=60)
        failed = threading.Event()

        def fail() -> None:
            failed.set()
            raise OSError("down")

        def stop() -> None:
            failed.wait(5)
            manager.stop()

        threading.Thread(target=stop).start()
        with pytest.raises(OSError, match="down"):
            manager.execute_with_retry(fail, "down", jitter=False)

    def test_a_deadline_ends_the_attempts(self) -> None:
        calls: list[int] = []
        with pytest.raises(OSError, match="x"):
            RetryBackoffManager(max_retries=1000, base_delay=0.05, max_delay=0.05).execute_with_retry(
                _always(calls, OSError("x")), "io", jitter=False, deadline=0.6
            )
        assert 2 <= len(calls) < 20

    def test_secrets_stay_out_of_the_log(self) -> None:
        manager = RetryBackoffManager()
        manager.execute_with_retry(lambda: {"token": "abc123"}, "login")
        assert "abc123" not in str(manager.get_retry_log())


def _always(calls: list[int], error: Exception) -> Any:
    def fail() -> None:
        calls.append(1)
        raise error

    return fail


class TestIdempotencyManager:
    """Once per key."""

    def test_what_the_original_promised(self) -> None:
        manager = IdempotencyManager()
        calls: list[int] = []

        def work() -> int:
            calls.append(1)
            return 42

        assert not manager.is_duplicate("k")
        assert manager.get_cached_result("k") is None
        assert [manager.process_idempotent("k", work) for _ in range(3)] == [42, 42, 42]
        assert calls == [1]
        assert manager.is_duplicate("k")
        assert manager.get_cached_result("k") == 42
        assert len(manager) == 1

    def test_time_runs_from_the_result(self) -> None:
        now = [1000.0]
        manager = IdempotencyManager(ttl_seconds=10, guard=Guard(clock=lambda: now[0]))

        def slow() -> float:
            now[0] += 60
            return now[0]

        first = manager.process_idempotent("k", slow)
        assert manager.process_idempotent("k", slow) == first
        now[0] += 11
        assert not manager.is_duplicate("k")
        assert manager.get_cached_result("k") is None
        assert manager.process_idempotent("k", slow) != first
        now[0] += 11
        assert manager.clear_expired() >= 1
        assert len(manager) == 0

    def test_callers_at_the_same_moment_share_one_run(self) -> None:
        manager = IdempotencyManager()
        calls: list[int] = []

        def work() -> int:
            calls.append(1)
            time.sleep(0.05)
            return len(calls)

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: manager.process_idempotent("k", work), range(8)))
        finally:
            sys.setswitchinterval(before)
        assert (calls, answers) == ([1], [1] * 8)

    def test_other_arguments_are_another_intention(self) -> None:
        manager = IdempotencyManager()
        manager.process_idempotent("k", lambda amount: amount, 1)
        with pytest.raises(KeyReuse):
            manager.process_idempotent("k", lambda amount: amount, 2)
        with pytest.raises(BadArguments):
            manager.process_idempotent("other", lambda amount: amount, float("nan"))

    def test_nothing_and_what_changes(self) -> None:
        manager = IdempotencyManager()
        calls: list[int] = []
        for _ in range(2):
            assert manager.process_idempotent("none", lambda: calls.append(1)) is None
        assert calls == [1]
        assert manager.is_duplicate("none")
        first = manager.process_idempotent("list", lambda: [1])
        first.append(2)
        assert manager.process_idempotent("list", lambda: [1]) == [1]
        assert manager.get_cached_result("list") == [1]

    def test_a_failure_leaves_the_key_free(self) -> None:
        manager = IdempotencyManager()
        with pytest.raises(ZeroDivisionError):
            manager.process_idempotent("k", lambda: 1 / 0)
        assert not manager.is_duplicate("k")
        assert manager.process_idempotent("k", lambda: 5) == 5

    def test_a_lifetime_is_above_zero(self) -> None:
        with pytest.raises(Invalid):
            IdempotencyManager(ttl_seconds=0)


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


def test_all_are_names_of_the_package() -> None:
    assert {"DryRunLock", "RetryBackoffManager", "IdempotencyManager", "GovernorEnforcer"} <= set(valhalla.__all__)


def test_what_a_lock_runs_may_be_given_by_name() -> None:
    lock = DryRunLock(dry_run=False)
    assert lock.execute(action_name="payment", action=lambda cents: cents, cents=5) == 5
    assert lock.execute("payment", action=lambda cents: cents, cents=6) == 6
    # given by their place, the names are the action's own
    assert lock.execute("note", lambda action, action_name: (action, action_name), action=1, action_name=2) == (1, 2)
    assert DryRunLock().execute(action_name="payment", action=dict)["dry_run"] is True
    with pytest.raises(TypeError, match="action"):
        lock.execute("payment")
