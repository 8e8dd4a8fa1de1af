"""The process as a whole: how it ends, what it leaves running (nothing), and who may use a data directory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.crash.control_plane import ControlPlane, gone, servers_of, spawn, until, users_of
from tests.sandbox.plane import opened, work_in

slow = pytest.mark.slow


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    made = ControlPlane(Path(tempfile.mkdtemp(prefix="vh-process-")))
    yield made
    made.remove()


@slow
async def test_a_life_of_starts_and_ends(plane: ControlPlane) -> None:
    """Ctrl-C, then SIGKILL: no process is left by either, and the data is there after each."""
    plane.start()
    url = str(plane.http.base_url)
    sandbox = plane.new()
    await work_in(sandbox["connection"])
    pids = servers_of(plane.data_dir)
    assert set(pids) == {"postgres", "valkey", "nats"}
    for number, status in ((signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)):
        begun = time.monotonic()
        assert plane.signal(number) == status
        assert time.monotonic() - begun < 8
        assert until(lambda: not users_of(plane.data_dir), seconds=20), users_of(plane.data_dir)
        assert (plane.data_dir / "control.json").exists() == (number == signal.SIGKILL)
        if number != signal.SIGKILL:
            assert "Traceback" not in plane.output()
        plane.start()
        assert str(plane.http.base_url) == url
        path = f"/api/sandboxes/{sandbox['id']}/status"
        until(lambda: plane.http.get(path).json()["health"] == "healthy")  # noqa: B023 - used up within this turn
        async with opened(sandbox["connection"]) as session:
            assert await session.sql.fetchval("SELECT id FROM orders") == 42
            assert await session.cache.get(sandbox["connection"]["valkey"]["prefix"] + "order") == b"42"
            assert (await session.bus.jetstream(timeout=5).stream_info("orders")).state.messages == 1


@slow
async def test_ctrl_c_with_work_under_way(plane: ControlPlane) -> None:
    """A template that would run for minutes and open client connections do not hold it up; nothing half-made stays."""
    plane.start()
    folder = plane.data_dir / "templates" / "hangs"
    folder.mkdir(parents=True)
    (folder / "template.toml").write_text(f"command = ['{sys.executable}', '-c', 'import time; time.sleep(300)']")
    sandbox = plane.new()
    async with opened(sandbox["connection"]) as session:
        query = asyncio.create_task(session.sql.execute("SELECT pg_sleep(60)"))
        async with httpx.AsyncClient(base_url=plane.http.base_url, headers=plane.http.headers, timeout=60) as client:
            making = asyncio.create_task(client.post("/api/sandboxes", json={"template": "hangs", "name": "half"}))
            while not any(row["name"] == "half" for row in plane.rows()):
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.3)
            begun = time.monotonic()
            status = await asyncio.to_thread(plane.signal, signal.SIGINT)
            assert status == 0
            # the server waits ten seconds for its requests, then the creation is called off
            assert time.monotonic() - begun < 15
            with contextlib.suppress(httpx.TransportError):
                assert (await making).status_code >= 500
        with contextlib.suppress(Exception):
            await asyncio.wait_for(query, 5)
    assert until(lambda: not users_of(plane.data_dir), seconds=20)
    plane.start()
    until(lambda: plane.row("half")["status"] == "destroyed")
    assert plane.row(sandbox["name"])["status"] == "running"


@pytest.mark.parametrize(
    "delay",
    [0.4, *(pytest.param(n / 10, marks=slow) for n in (0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16))],
)
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=slow)], ids=lambda number: number.name
)
def test_a_signal_during_the_first_start(plane: ControlPlane, number: signal.Signals, delay: float) -> None:
    """Whenever it comes, nothing runs afterwards, nothing complains, and the next start works."""
    process = plane.process = spawn(plane.data_dir, "up")
    until(lambda: plane.data_dir.exists() or process.poll() is not None)
    time.sleep(delay)
    process.send_signal(number)
    status = process.wait(60)
    output = plane.output()
    assert gone(servers_of(plane.data_dir))
    assert until(lambda: not users_of(plane.data_dir), seconds=20), users_of(plane.data_dir)
    assert "Traceback" not in output, output
    assert status in (0, 128 + number, -number), output
    plane.start()
    assert plane.http.get("/api/sandboxes").json()["items"] == []


@slow
@pytest.mark.parametrize("delay", [0.1, 0.3, 0.8])
def test_a_kill_during_the_first_start(plane: ControlPlane, delay: float) -> None:
    """Half a cluster, half a schema: the next start makes it whole."""
    process = plane.process = spawn(plane.data_dir, "up")
    until(plane.data_dir.exists)
    time.sleep(delay)
    process.kill()
    process.wait(30)
    assert until(lambda: not users_of(plane.data_dir), seconds=10), users_of(plane.data_dir)
    plane.start()
    sandbox = plane.new()
    plane.end(sandbox)


@pytest.mark.slow
def test_a_second_one_on_the_same_directory_is_refused(plane: ControlPlane) -> None:
    """Clearly, at once, without disturbing the first; also while the first is still starting."""
    first = plane.process = spawn(plane.data_dir, "up")
    until((plane.data_dir / "lock").exists)
    early = spawn(plane.data_dir, "up")
    output = early.communicate(timeout=20)[0].decode()
    assert early.returncode == 1, output
    assert "in use" in output
    assert "Traceback" not in output
    first.send_signal(signal.SIGTERM)
    first.wait(30)
    plane.start()
    assert plane.process is not None
    late = spawn(plane.data_dir, "up")
    output = late.communicate(timeout=20)[0].decode()
    assert late.returncode == 1, output
    assert str(plane.process.pid) in output
    assert plane.process.poll() is None
    assert plane.http.get("/api/sandboxes").status_code == 200


@pytest.mark.slow
async def test_a_killed_server_is_told_and_nothing_hangs(plane: ControlPlane) -> None:
    """One child dies under a running control plane: the answers say which, and Ctrl-C still ends it all."""
    plane.start()
    pids = servers_of(plane.data_dir)
    os.kill(pids["nats"], signal.SIGKILL)
    assert gone({"nats": pids["nats"]})
    answer = plane.http.post("/api/sandboxes", json={})
    assert (answer.status_code, answer.json()["backend"]) == (503, "nats")
    ready = plane.http.get("/ready")
    assert ready.status_code == 503
    assert "nats" in json.dumps(ready.json())
    assert plane.signal(signal.SIGINT) == 0
    assert until(lambda: not users_of(plane.data_dir), seconds=20)
    plane.start()
    until(lambda: {row["status"] for row in plane.rows()} <= {"destroyed"})
    plane.end(plane.new())
