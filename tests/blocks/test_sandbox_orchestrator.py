"""The orchestrator: ten blocks, one guarded call, and readiness that is evidence."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from valhalla import SandboxOrchestrator
from valhalla.blocks.errors import BadDatabase, NotInitialized
from valhalla.guard import DoneFailed, Held, Indeterminate, NotDone, SqliteStore
from valhalla.guard.errors import BadDeclaration
from valhalla.kit.log import correlated

if TYPE_CHECKING:
    from tests.conftest import Servers

PATIENCE = 30.0


@pytest.fixture
def sandbox() -> Iterator[SandboxOrchestrator]:
    """Return one in a dry run."""
    with SandboxOrchestrator() as made:
        yield made


@pytest.fixture
def live() -> Iterator[SandboxOrchestrator]:
    """Return one whose actions happen."""
    with SandboxOrchestrator(dry_run=False, roles={"ana": ["finance"]}) as made:
        yield made


class Provider:
    """Takes money, and says how often."""

    def __init__(self) -> None:
        self.paid: list[tuple[str, int]] = []

    def pay(self, order: str, cents: int) -> str:
        self.paid.append((order, cents))
        return f"receipt-{len(self.paid)}"


class TestBatch1:
    """What the original promised."""

    def test_the_blocks_are_its_attributes(self) -> None:
        sandbox = SandboxOrchestrator(use_memory_db=True)
        for name in (
            "db_manager", "dry_run_lock", "worker", "heartbeat", "retry_manager", "idempotency_manager", "governor",
            "alert_system", "logger", "readiness_checker",
        ):  # fmt: skip
            assert getattr(sandbox, name) is not None
        assert sandbox.dry_run_lock.dry_run is True
        sandbox.cleanup()

    def test_it_is_ready_once_it_was_initialized_and_not_after_cleanup(self) -> None:
        sandbox = SandboxOrchestrator()
        assert sandbox.is_ready() is False
        sandbox.initialize()
        sandbox.initialize()
        assert (sandbox.worker.is_running, sandbox.heartbeat.is_running) == (True, True)
        assert sandbox.is_ready() is True
        assert sandbox.run_readiness_check() is True
        assert sandbox.get_status()["readiness"]["checks"] == {
            "database_connected": True, "worker_running": True, "heartbeat_active": True, "governor_configured": True,
        }  # fmt: skip
        sandbox.cleanup()
        sandbox.cleanup()
        assert (sandbox.worker.is_running, sandbox.heartbeat.is_running) == (False, False)
        assert sandbox.is_ready() is False
        assert sandbox.get_status()["readiness"]["is_ready"] is False
        assert not [thread for thread in threading.enumerate() if thread in sandbox.worker.threads]

    def test_the_status_has_its_documented_keys(self, sandbox: SandboxOrchestrator) -> None:
        assert sandbox.get_status().keys() >= {
            "readiness", "heartbeat", "governor", "worker_queue_length", "completed_jobs", "alerts",
            "idempotent_operations",
        }  # fmt: skip

    def test_the_default_limits(self, sandbox: SandboxOrchestrator) -> None:
        limits = {
            name: (limit["max_actions"], sandbox.governor.get_status(name)["window_seconds"])
            for name, limit in sandbox.get_status()["governor"].items()
        }
        assert limits == {"payment": (100, 3600), "api_call": (1000, 60), "data_export": (10, 3600)}

    def test_the_blocks_work_together(self, sandbox: SandboxOrchestrator) -> None:
        assert sandbox.dry_run_lock.execute("payment", lambda: 1)["dry_run"] is True
        assert sandbox.governor.check_limit("payment") == (True, "Action allowed")
        assert sandbox.idempotency_manager.process_idempotent("k", lambda: 7) == 7
        assert sandbox.retry_manager.execute_with_retry(lambda: 8, "task") == 8
        assert sandbox.worker.wait(sandbox.worker.submit_job("job", lambda: 9), PATIENCE)["result"] == 9
        sandbox.alert_system.alert("task", "reason")
        with sandbox.db_manager.get_session() as session:
            assert session.scalar(text("SELECT 1")) == 1
        status = sandbox.get_status()
        assert (status["completed_jobs"], status["alerts"], status["idempotent_operations"]) == (1, 1, 1)
        assert status["governor"]["payment"]["current_actions"] == 1


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


class TestRun:
    """One call, everything that applies to it."""

    def test_a_repetition_is_answered_and_charged_nothing(self, live: SandboxOrchestrator) -> None:
        provider = Provider()
        outcomes = [live.run("payment", provider.pay, "A-1", 500, key="A-1") for _ in range(3)]
        assert [one.status for one in outcomes] == ["succeeded", "replayed", "replayed"]
        assert {one.unwrap() for one in outcomes} == {"receipt-1"}
        assert live.governor.get_status("payment")["current_actions"] == 1
        assert live.get_status()["idempotent_operations"] == 1
        # an equal payment of another order is another payment
        assert live.run("payment", provider.pay, "A-2", 500, key="A-2").status == "succeeded"
        assert live.run("payment", provider.pay, "A-1", 999, key="A-1").status == "denied"
        assert provider.paid == [("A-1", 500), ("A-2", 500)]

    def test_fifty_threads_with_one_key_pay_once(self, live: SandboxOrchestrator) -> None:
        provider = Provider()

        def slow(order: str, cents: int) -> str:
            time.sleep(0.01)
            return provider.pay(order, cents)

        with ThreadPoolExecutor(50) as pool:
            calls = [pool.submit(live.run, "payment", slow, "A-1", 500, key="A-1") for _ in range(50)]
            values = {call.result().unwrap() for call in calls}
        assert (values, provider.paid) == ({"receipt-1"}, [("A-1", 500)])

    def test_a_limit_refuses_and_is_an_alert_and_a_denial(self) -> None:
        with SandboxOrchestrator(dry_run=False, limits={"payment": (2, 3600)}) as live:
            statuses = [live.run("payment", len, "x", key=f"k{n}").status for n in range(3)]
            assert statuses == ["succeeded", "succeeded", "limited"]
            assert live.governor.get_status("payment")["denied_count"] == 1
            assert [entry["resource"] for entry in live.governor.violation_log] == ["payment"]
            (alert,) = live.alert_system.get_alerts()
            assert (alert["task"], alert["severity"], alert["context"]["status"]) == ("payment", "warning", "limited")

    def test_an_irreversible_action_needs_a_limit(self, live: SandboxOrchestrator) -> None:
        ran: list[int] = []
        assert live.run("paymnt", ran.append, 1).status == "limited"
        assert ran == []
        assert live.run("paymnt", ran.append, 1, resource="payment").status == "succeeded"
        assert live.run("read_orders", lambda: 1).status == "succeeded"

    def test_what_was_not_done_is_tried_again(self, live: SandboxOrchestrator) -> None:
        tries: list[int] = []

        def busy() -> str:
            tries.append(1)
            if len(tries) < 3:
                raise NotDone("429")
            return "done"

        live.retry_manager.base_delay = 0.001
        assert live.run("payment", busy, key="k").value == "done"
        assert len(tries) == 3

    def test_what_may_have_been_done_is_not_tried_again_and_is_critical(self, live: SandboxOrchestrator) -> None:
        tries: list[int] = []

        def silent() -> None:
            tries.append(1)
            raise TimeoutError("no answer from https://ana:hunter2@bank")

        first, second = (live.run("payment", silent, key="k") for _ in range(2))
        assert (first.status, second.status, len(tries)) == ("indeterminate", "indeterminate", 1)
        assert isinstance(first.error, TimeoutError)
        assert isinstance(second.error, Indeterminate)
        alerts = live.alert_system.get_alerts(minimum="critical")
        assert {one["task"] for one in alerts} == {"payment"}
        assert "hunter2" not in str(alerts)

    def test_a_final_failure_is_an_error(self, live: SandboxOrchestrator) -> None:
        def declined() -> None:
            raise DoneFailed("card declined")

        assert live.run("payment", declined, key="k").status == "failed"
        (alert,) = live.alert_system.get_alerts()
        assert (alert["severity"], alert["reason"]) == ("error", "DoneFailed: card declined")

    def test_a_large_payment_is_held_until_somebody_approves(self, live: SandboxOrchestrator) -> None:
        provider = Provider()

        def buy() -> Any:
            return live.run("payment", provider.pay, "A-1", 50_000, key="A-1", approval="1 of finance")

        held = buy()
        assert (held.status, provider.paid) == ("held", [])
        assert live.alert_system.get_alerts(severity="info")[0]["context"]["id"] == held.id
        live.guard.approve(held.id, by="ana")
        assert buy().value == "receipt-1"
        assert buy().status == "replayed"
        assert provider.paid == [("A-1", 50_000)]

    def test_what_was_declared_holds(self, live: SandboxOrchestrator) -> None:
        provider = Provider()
        pay = live.guard.action("invoice", key="order", limit="1/hour")(provider.pay)
        assert live.run("invoice", pay, "A-1", 5).status == "succeeded"
        assert live.run("invoice", pay, "A-1", 5).status == "replayed"
        assert live.run("invoice", pay, "A-2", 5).status == "limited"
        assert provider.paid == [("A-1", 5)]

    def test_everything_is_written_under_one_id(self, live: SandboxOrchestrator) -> None:
        def refuse() -> None:
            raise DoneFailed("no")

        with correlated("req-1"):
            outcome = live.run("payment", refuse, key="k")
        assert live.alert_system.get_alerts()[0]["context"]["correlation_id"] == "req-1"
        assert live.guard.get(outcome.id or "").correlation == "req-1"
        assert [(line.event, line.state) for line in live.ledger() if line.id == outcome.id] == [
            ("begin", "executing"),
            ("finish", "failed"),
        ]

    def test_a_mistake_of_the_caller_is_raised(self, live: SandboxOrchestrator) -> None:
        with pytest.raises(TypeError):
            live.run("payment", lambda order: order)
        with pytest.raises(SystemExit):
            live.run("read_x", lambda: exit(3))

    async def test_async_functions(self, live: SandboxOrchestrator) -> None:
        async def pay(order: str) -> str:
            await asyncio.sleep(0)
            return order

        assert (await live.arun("payment", pay, "A-1", key="A-1")).value == "A-1"
        assert (await live.arun("payment", pay, "A-1", key="A-1")).status == "replayed"
        with pytest.raises(BadDeclaration, match="async"):
            live.run("payment", pay, "A-2")
        async with SandboxOrchestrator() as sandbox:
            assert (await sandbox.arun("payment", pay, "A-1", key="A-1")).status == "planned"


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
        _until(lambda: sandbox.alert_system.get_alerts(task_name="job.export"))

    def test_a_worker_that_hangs_is_missed_alerted_and_no_go_until_it_is_back(self) -> None:
        go_on = threading.Event()
        with SandboxOrchestrator(heartbeat_timeout=0.15) as sandbox:
            assert sandbox.is_ready()
            sandbox.worker.submit_job("hang", go_on.wait, PATIENCE)
            _until(lambda: sandbox.alert_system.get_alerts(task_name="heartbeat.worker", state="open"))
            assert sandbox.is_ready() is False
            assert "worker" in sandbox.readiness_checker.get_status()["reason"]
            assert sandbox.alert_system.get_alerts(task_name="readiness", severity="critical")
            go_on.set()
            _until(lambda: sandbox.alert_system.get_alerts(task_name="heartbeat.worker", state="resolved"))
            _until(sandbox.is_ready)

    def test_cleanup_finishes_what_was_accepted(self) -> None:
        done: list[int] = []
        sandbox = SandboxOrchestrator()
        sandbox.initialize()
        for number in range(100):
            sandbox.worker.submit_job("n", done.append, number)
        sandbox.cleanup()
        assert done == list(range(100))


class TestReadiness:
    """GO from evidence."""

    def test_a_database_that_is_gone_is_a_no_go(self) -> None:
        with SandboxOrchestrator(db_url="postgresql://ana:hunter2@127.0.0.1:1/shop") as sandbox:
            assert sandbox.is_ready() is False
            status = sandbox.get_status()
        assert status["readiness"]["checks"]["database_connected"] is False
        assert status["readiness"]["failed_checks"] == 1
        assert "hunter2" not in str(status)

    def test_a_heartbeat_that_was_stopped_is_a_no_go(self, sandbox: SandboxOrchestrator) -> None:
        assert sandbox.is_ready()
        sandbox.heartbeat.stop()
        assert sandbox.is_ready() is False

    def test_a_real_postgres(self, servers: Servers) -> None:
        with SandboxOrchestrator(db_url=servers.superuser_url) as sandbox:
            assert sandbox.is_ready()
            with sandbox.db_manager.get_session() as session:
                assert session.scalar(text("SELECT 1")) == 1


class TestLife:
    """Begin, end, begin again."""

    def test_before_and_after_there_are_no_calls(self) -> None:
        sandbox = SandboxOrchestrator()
        for use in (sandbox.run, sandbox.submit):
            with pytest.raises(NotInitialized):
                use("read_x", len, "x")
        sandbox.initialize()
        sandbox.cleanup()
        for call in (lambda: sandbox.run("read_x", len, "x"), sandbox.initialize):
            with pytest.raises(NotInitialized):
                call()

    def test_one_place_is_named(self) -> None:
        for wrong in (
            {"use_memory_db": True, "db_url": "sqlite:///x.db"},
            {"use_memory_db": False},
            {"control_plane": True, "db_url": "sqlite:///x.db"},
            {"control_plane": True, "use_memory_db": True},
        ):
            with pytest.raises(BadDatabase):
                SandboxOrchestrator(**wrong)  # type: ignore[arg-type]

    def test_with_a_store_a_payment_is_known_after_a_restart(self, tmp_path: Path) -> None:
        provider = Provider()
        for expected in ("succeeded", "replayed"):
            with SandboxOrchestrator(dry_run=False, store=SqliteStore(tmp_path / "guard.db")) as live:
                assert live.run("payment", provider.pay, "A-1", 500, key="A-1").status == expected
                assert live.is_ready()
                assert live.get_status()["readiness"]["checks"]["guard_store"] is True
        assert provider.paid == [("A-1", 500)]

    def test_two_at_once_share_nothing(self) -> None:
        with SandboxOrchestrator(dry_run=False) as one, SandboxOrchestrator() as other:
            assert one.run("payment", len, "x", key="k").status == "succeeded"
            assert other.run("payment", len, "x", key="k").status == "planned"
            one.cleanup()
            assert other.is_ready()

    def test_what_cannot_begin_leaves_no_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sandbox = SandboxOrchestrator()
        monkeypatch.setattr(sandbox.governor, "set_limit", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sandbox.initialize()
        assert (sandbox.worker.is_running, sandbox.heartbeat.is_running) == (False, False)


def _until(true: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)
