"""The dry-run lock keeps what Batch 1's own tests assert, and not what it got wrong."""

from __future__ import annotations

import pytest

import valhalla
from valhalla import DryRunLock
from valhalla.guard import BadName, Guard, Held
from valhalla.guard.blocks import journal


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
