"""Nothing irreversible happens before somebody goes live, not in the background either."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.blocks.provider import Provider
from tests.blocks.waiting import PATIENCE, until

from valhalla import SandboxOrchestrator
from valhalla.guard import Held


class TestDryRun:
    """Nothing irreversible happens before somebody goes live."""

    def test_a_payment_is_planned_and_not_done(self, sandbox: SandboxOrchestrator) -> None:
        provider = Provider()
        outcome = sandbox.run("payment", provider.pay, "A-1", 500, key="A-1")
        assert (outcome.status, outcome.ok, outcome.value, provider.paid) == ("planned", False, None, [])
        with pytest.raises(Held):
            outcome.unwrap()
        assert [entry["status"] for entry in sandbox.dry_run_lock.get_execution_log("payment")] == ["dry_run_blocked"]
        # it used up nothing, and is not remembered as done
        assert sandbox.governor.get_status("payment")["current_actions"] == 0
        assert sandbox.get_status()["idempotent_operations"] == 0
        assert sandbox.alert_system.get_alerts() == []

    @pytest.mark.parametrize("name", ["payments", "process_payment", "wire_transfer", "delete", "send_email"])
    def test_names_that_nobody_declared_are_held(self, sandbox: SandboxOrchestrator, name: str) -> None:
        ran: list[int] = []
        assert sandbox.run(name, ran.append, 1).status == "planned"
        assert ran == []

    @pytest.mark.parametrize("name", ["Payment", "payment ", "p\u0430yment", ""])
    def test_names_that_can_be_mistaken_are_denied(self, sandbox: SandboxOrchestrator, name: str) -> None:
        ran: list[int] = []
        assert sandbox.run(name, ran.append, 1).status == "denied"
        assert ran == []

    def test_what_was_declared_reversible_runs_and_what_it_calls_is_held(self) -> None:
        provider = Provider()
        with SandboxOrchestrator(reversible=["preview"]) as sandbox:

            def preview() -> str:
                return sandbox.run("payment", provider.pay, "A-1", 500, key="A-1").status

            assert sandbox.run("preview", preview).value == "planned"
            assert sandbox.run("read_orders", lambda: [1]).value == [1]
            assert sandbox.run("preview", preview, key="k").status == "succeeded"
        assert provider.paid == []

    def test_the_same_code_runs_live(self, sandbox: SandboxOrchestrator) -> None:
        provider = Provider()

        def buy() -> Any:
            return sandbox.run("payment", provider.pay, "A-1", 500, key="A-1")

        planned = buy()
        sandbox.dry_run_lock.go_live(by="ana", reason="rehearsed")
        done = buy()
        assert type(planned) is type(done)
        assert (done.status, done.value, provider.paid) == ("succeeded", "receipt-1", [("A-1", 500)])
        sandbox.dry_run_lock.go_dry(by="ana", reason="enough")
        assert sandbox.run("payment", provider.pay, "A-2", 500, key="A-2").status == "planned"


class TestBackground:
    """The worker, the heartbeat, and what they have to say."""

    def test_a_call_in_the_background_is_the_same_call(self, live: SandboxOrchestrator) -> None:
        provider = Provider()
        ids = [live.submit("payment", provider.pay, "A-1", 500, key="A-1") for _ in range(3)]
        outcomes = [live.worker.wait(id_, PATIENCE)["result"] for id_ in ids]
        assert [one.status for one in outcomes] == ["succeeded", "replayed", "replayed"]
        assert provider.paid == [("A-1", 500)]

    def test_the_dry_run_holds_in_the_background_too(self, sandbox: SandboxOrchestrator) -> None:
        provider = Provider()
        id_ = sandbox.submit("payment", provider.pay, "A-1", 500, key="A-1")
        assert sandbox.worker.wait(id_, PATIENCE)["result"].status == "planned"
        assert provider.paid == []

    def test_a_job_that_fails_is_an_alert(self, sandbox: SandboxOrchestrator) -> None:
        sandbox.worker.wait(sandbox.worker.submit_job("export", lambda: 1 / 0), PATIENCE)
        until(lambda: sandbox.alert_system.get_alerts(task_name="job.export"))

    def test_a_worker_that_hangs_is_missed_alerted_and_no_go_until_it_is_back(self) -> None:
        go_on = threading.Event()
        with SandboxOrchestrator(heartbeat_timeout=0.15) as sandbox:
            assert sandbox.is_ready()
            sandbox.worker.submit_job("hang", go_on.wait, PATIENCE)
            until(lambda: sandbox.alert_system.get_alerts(task_name="heartbeat.worker", state="open"))
            assert sandbox.is_ready() is False
            assert "worker" in sandbox.readiness_checker.get_status()["reason"]
            assert sandbox.alert_system.get_alerts(task_name="readiness", severity="critical")
            go_on.set()
            until(lambda: sandbox.alert_system.get_alerts(task_name="heartbeat.worker", state="resolved"))
            until(sandbox.is_ready)

    def test_cleanup_finishes_what_was_accepted(self) -> None:
        done: list[int] = []
        sandbox = SandboxOrchestrator()
        sandbox.initialize()
        for number in range(100):
            sandbox.worker.submit_job("n", done.append, number)
        sandbox.cleanup()
        assert done == list(range(100))
