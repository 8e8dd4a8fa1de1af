"""An orchestrator in a sandbox of a real control plane."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text
from tests.sdk.real import running

from valhalla import Client, SandboxOrchestrator
from valhalla.sdk.errors import Unreachable

PATIENCE = 30.0


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with running() as data_dir, Client(data_dir=data_dir) as opened:
        yield opened


@pytest.mark.slow
def test_its_database_is_a_sandbox_that_ends_with_it(client: Client) -> None:
    with SandboxOrchestrator(control_plane=client) as orchestrator:
        assert orchestrator.sandbox is not None
        id_ = orchestrator.sandbox.id
        assert client.get(id_).status == "running"
        orchestrator.db_manager.seed("CREATE TABLE orders (id int); INSERT INTO orders VALUES (1)")
        with orchestrator.db_manager.session() as session:
            session.execute(text("INSERT INTO orders VALUES (2)"))
        orchestrator.db_manager.reset()
        with orchestrator.db_manager.get_session() as session:
            assert session.scalar(text("SELECT count(*) FROM orders")) == 1
        assert orchestrator.is_ready(), orchestrator.readiness_checker.get_status()
        assert orchestrator.get_status()["readiness"]["checks"]["control_plane"] is True
        name = f"orchestrator.{id_}"
        _until(lambda: client.heartbeats.get(name).status == "alive")
        orchestrator.dry_run_lock.go_live(by="ana", reason="test")
        assert orchestrator.run("paymnt", len, "x").status == "limited"
        _until(lambda: [one for one in client.alerts.iterate() if one.name == "paymnt"])
    assert client.get(id_).status in {"destroying", "destroyed"}
    assert name not in {one.name for one in client.heartbeats.iterate()}


@pytest.mark.slow
def test_a_beginning_that_fails_leaves_no_sandbox(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    orchestrator = SandboxOrchestrator(control_plane=client)
    monkeypatch.setattr(orchestrator.governor, "set_limit", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        orchestrator.initialize()
    assert orchestrator.sandbox is not None
    assert client.get(orchestrator.sandbox.id).status in {"destroying", "destroyed"}


def test_one_that_is_not_there_is_a_reason() -> None:
    orchestrator = SandboxOrchestrator(control_plane=Client("http://127.0.0.1:9", "vh_nobody_here_at_all"))
    with pytest.raises(Unreachable):
        orchestrator.initialize()
    orchestrator.cleanup()


def _until(true: Any) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if true():
                return
        except Exception as error:  # noqa: BLE001 - asked before it is there
            last: Exception | None = error
        else:
            last = None
        assert time.monotonic() < end, last
        time.sleep(0.1)
