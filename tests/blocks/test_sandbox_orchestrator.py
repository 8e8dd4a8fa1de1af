"""The orchestrator: ten blocks, a life with a beginning and an end, and readiness that is evidence."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from valhalla import SandboxOrchestrator
from valhalla.blocks.errors import BadDatabase, NotInitialized
from valhalla.guard import SqliteStore

if TYPE_CHECKING:
    from tests.conftest import Servers
from tests.blocks.provider import Provider
from tests.blocks.waiting import PATIENCE


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
