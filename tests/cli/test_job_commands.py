"""``valhalla job``, ``schedule`` and ``heartbeat`` against a real control plane and a worker of the user's program."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.calling import Result, Run

from valhalla import Client

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def worker(up: tuple[Path, Result]) -> Iterator[Path]:
    """Runs the jobs of ``tests.work.program``."""
    command = [sys.executable, "-m", "valhalla.cli", "--data-dir", str(up[0]), "worker", "tests.work.program:jobs"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        with Client(data_dir=up[0]) as client:
            deadline = time.monotonic() + 30
            while not any(kind.name == "double" for kind in client.jobs.kinds()):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield up[0]
    finally:
        process.terminate()
        process.wait(30)


def document(run: Run, *words: str) -> Any:
    done = run(*words, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_a_job_is_submitted_shown_and_listed(quick: Run, worker: Path) -> None:
    key = quick("job", "submit", "double", "--arg", "n=21").out.strip()
    deadline = time.monotonic() + 20
    while (job := document(quick, "job", "show", key))["status"] != "succeeded":
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
    assert job["result"] == 42
    assert "42" in quick("job", "show", key).out
    later = [quick("job", "submit", "double", "--arg", "n=1", "--delay", "3600", "-q").out.strip() for _ in range(3)]
    found = document(quick, "job", "ls", "--name", "double", "--status", "queued", "--limit", "2")
    assert ([one["id"] for one in found["items"]], found["next"] is None) == ([later[2], later[1]], False)
    for one in later:
        assert document(quick, "job", "cancel", one)["status"] == "cancelled"
    assert document(quick, "job", "retry", later[0])["status"] == "queued"
    while document(quick, "job", "show", later[0])["status"] != "succeeded":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    plan = document(quick, "job", "retry", "--all", "--status", "cancelled", "--name", "double", "--dry-run")
    assert plan == {"dry_run": True, "matched": 2, "replayed": []}
    wrong = quick("job", "submit", "double", "--arg", "m=1")
    assert (wrong.code, "n is missing" in wrong.err) == (1, True)
    assert quick("job", "retry").code == 2


def test_schedules_and_heartbeats(quick: Run, worker: Path) -> None:
    with Client(data_dir=worker) as client:
        client.schedules.put("nightly", job="double", args={"n": 2}, timing={"type": "cron", "expression": "@daily"})
        assert "nightly" in quick("schedule", "ls").out
        assert len(quick("schedule", "next", "nightly", "-n", "3").out.split()) == 3
        made = document(quick, "schedule", "run", "nightly")
        assert client.jobs.get(made["id"]).name == "double"
        assert document(quick, "schedule", "pause", "nightly")["paused"]
        assert not document(quick, "schedule", "resume", "nightly")["paused"]
        client.schedules.remove("nightly")
        assert quick("heartbeat", "ping", "backup", "--interval", "3600").out == "alive: backup\n"
        assert document(quick, "heartbeat", "ping", "backup", "--fail", "--reason", "disk")["reason"] == "failed: disk"
        assert "missed" in quick("heartbeat", "ls").out
        assert any(one.name.startswith("worker.") for one in client.heartbeats.iterate())
        assert quick("heartbeat", "rm", "backup").code == 0
        assert quick("heartbeat", "rm", "backup").code == 1
