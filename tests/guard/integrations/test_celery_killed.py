"""A worker process that is killed with SIGKILL: the broker delivers its task again, and the effect is not repeated."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

MODULE = "tests.guard.integrations.doomed_worker"


@contextmanager
def worker(folder: Path, broker: str, at: str = "") -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {"DOOMED_FOLDER": str(folder), "DOOMED_BROKER": broker, "DOOMED_AT": at}
    words = [sys.executable, "-m", "celery", "-A", f"{MODULE}:app", "worker", "--pool=solo", "--loglevel=WARNING"]
    words += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "name", "effects", "end"),
    [
        ("before the effect", "irreversible", 0, "unknown"),
        ("after the effect", "irreversible", 1, "unknown"),
        ("before the acknowledgement", "irreversible", 1, "receipt-A"),
        ("before the effect", "idempotent", 1, "receipt-A"),
        ("after the effect", "idempotent", 2, "receipt-A"),
        ("before the acknowledgement", "idempotent", 1, "receipt-A"),
    ],
)
def test_a_task_of_a_killed_worker(servers: Any, tmp_path: Path, at: str, name: str, effects: int, end: str) -> None:
    folder = tmp_path / f"doomed-{at.replace(' ', '-')}-{name}"
    folder.mkdir()
    broker = servers.endpoints.valkey_url
    app = Celery("asker", broker=broker, backend=broker, set_as_current=False)
    tag = f"{{{folder.name}}}"
    app.conf.update(
        broker_transport_options={"visibility_timeout": 2, "global_keyprefix": tag},
        result_backend_transport_options={"global_keyprefix": tag},
        task_default_queue=folder.name,
    )
    result = app.send_task(name, ("A",))
    with worker(folder, broker, at) as first:
        assert first.wait(60) == -signal.SIGKILL, (folder / "log").read_text()
    with worker(folder, broker):
        if end == "unknown":
            with pytest.raises(Exception, match="is unknown"):
                result.get(timeout=90)
        else:
            # the first worker may have stored the result of what it did not live to acknowledge
            assert result.get(timeout=90) == end
            again = app.send_task(name, ("A",))
            assert again.get(timeout=90) == end
    paid = folder / "paid"
    assert (paid.read_text().splitlines() if paid.exists() else []) == ["A"] * effects
