"""Starting in the background and stopping: what is told when it goes wrong, and that only our own process is hit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.cli.calling import Result, start_ticks, write_control

Valhalla = Callable[..., Result]

OBEDIENT = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print('up', flush=True); signal.pause()"
DEAF = (
    "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); [signal.pause() for _ in iter(int, 1)]"
)


def stand_in(folder: Path, script: str) -> subprocess.Popen[bytes]:
    """Start a process that poses as the control plane of ``folder``."""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    write_control(folder, "http://127.0.0.1:1", process.pid, start_ticks(process.pid))
    return process


def test_down_waits_for_the_end(tmp_path: Path, valhalla: Valhalla) -> None:
    with stand_in(tmp_path / "d", OBEDIENT) as process:
        result = valhalla("down", "--data-dir", str(tmp_path / "d"))

        assert (result.code, result.out) == (0, f"Stopped (process {process.pid})\n")
        assert process.wait(1) == 0


def test_down_gives_up_after_the_timeout(tmp_path: Path, valhalla: Valhalla) -> None:
    with stand_in(tmp_path / "d", DEAF) as process:
        begin = time.monotonic()
        result = valhalla("down", "--data-dir", str(tmp_path / "d"), "--timeout", "0.2")
        took = time.monotonic() - begin
        process.kill()

    assert result.code == 1
    assert "still runs 0.2 s after" in result.err
    assert took < 2


def test_down_never_hits_a_process_that_took_the_pid(tmp_path: Path, valhalla: Valhalla) -> None:
    with stand_in(tmp_path / "d", OBEDIENT) as process:
        write_control(tmp_path / "d", "http://127.0.0.1:1", process.pid, start_ticks(process.pid) - 1)

        result = valhalla("down", "--data-dir", str(tmp_path / "d"))

        assert result.code == 0
        assert "has ended" in result.out
        assert process.poll() is None
        process.kill()


def test_down_when_nothing_runs(tmp_path: Path, valhalla: Valhalla) -> None:
    result = valhalla("down", "--data-dir", str(tmp_path), "--json")

    assert (result.code, json.loads(result.out)["stopped"]) == (0, False)


def test_up_refuses_a_second_start_in_the_foreground(data_dir: Path, valhalla: Valhalla) -> None:
    result = valhalla("up")

    assert (result.code, result.out) == (1, "")
    assert f"already runs on {data_dir}" in result.err


def test_up_detached_is_content_with_what_runs(data_dir: Path, valhalla: Valhalla) -> None:
    result = valhalla("up", "--detach", "--json")

    assert (result.code, json.loads(result.out)["started"]) == (0, False)


def test_a_start_that_fails_shows_the_end_of_its_log(tmp_path: Path, valhalla: Valhalla) -> None:
    folder = tmp_path / "d"

    result = valhalla("up", "--detach", "--data-dir", str(folder), "--set", "log_level=nonsense")

    assert (result.code, result.out) == (1, "")
    assert "ended with code 1" in result.err
    assert "log_level" in result.err
    assert (folder / "logs" / "control.log").stat().st_mode & 0o077 == 0


def test_passwords_go_to_the_child_by_its_environment() -> None:
    from valhalla.cli.serving import Serving

    serving = Serving.of(config=None, assignments=("cell_key=secret",), database_url="postgresql://u:p@h/d", port=0)

    environment = {"VALHALLA_CELL_KEY": "secret", "VALHALLA_DATABASE_URL": "postgresql://u:p@h/d", "VALHALLA_PORT": "0"}
    assert serving.environment() == environment
    assert os.environ.keys().isdisjoint(environment)
