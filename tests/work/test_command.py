"""``valhalla worker``: runs a program's jobs until it is told to stop, even when one hangs."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.work.conftest import ended
from tests.work.program import jobs

from valhalla.kernel.problems import Misconfigured
from valhalla.kit import liblog
from valhalla.kit.db import Database
from valhalla.server.options import ServeOptions
from valhalla.server.working import work
from valhalla.work import heartbeats, read, submit

ROOT = Path(__file__).parents[2]


def command(database_url: str, target: str, folder: Path) -> list[str]:
    options = ["--database-url", database_url, "--grace", "0.1", "--data-dir", str(folder)]
    return [sys.executable, "-m", "valhalla.cli", "worker", target, *options]


async def test_it_runs_jobs_and_stops_when_told(db: Database, database_url: str, tmp_path: Path) -> None:
    """A job that hangs does not keep it: it stays in the queue's hands and is taken over by the next worker."""
    hung = await db.run(submit, jobs, "hang")
    made = await db.run(submit, jobs, "double", {"n": 21})
    worker = subprocess.Popen(
        command(database_url, "tests.work.program:jobs", tmp_path),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert (await ended(db, made.id)).result == 42
        await ended(db, hung.id, ("running",))
        deadline = time.monotonic() + 20
        while [(one.name[:7], one.status) for one in await db.run(heartbeats.every)] != [("worker.", "alive")]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        worker.send_signal(signal.SIGTERM)
        output, said = worker.communicate(timeout=30)
    finally:
        worker.kill()
    assert worker.returncode == 0
    assert await db.run(heartbeats.every) == []
    assert "double, hang" in output
    (line,) = [line for line in map(json.loads, said.splitlines()) if line["logger"] == "shop.doubling"]
    assert line["level"] == "warning"
    assert "hunter22" not in line["event"]
    assert (await db.run(read, hung.id)).status == "running"


def test_it_says_what_it_cannot_load(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a missing module nor something else than jobs is run."""
    # this process is the tests', not a worker's
    monkeypatch.setattr(liblog, "capture", lambda: None)
    options = ServeOptions(data_dir=tmp_path, overrides={"database_url": database_url})
    for target in ("tests.work.nothing:jobs", "tests.work.program:double", "tests.work.program"):
        with pytest.raises(Misconfigured, match=target):
            work(options, target, concurrency=1, grace=1.0)
    with pytest.raises(Misconfigured, match="name"):
        work(options, "tests.work.program:jobs", concurrency=1, grace=1.0, name="A b")
