"""How long a user waits for the first answer, and what the process weighs when idle."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from bench.plane import CLI, control, down, folder, up
from bench.report import figure, publish

_READY = re.compile(r"ready \(([0-9.]+) s\)")


def run() -> None:
    """Measure start from nothing, restart, ``--help`` against a bare interpreter, and idle memory."""
    fresh: list[float] = []
    again: list[float] = []
    memory: list[float] = []
    for _ in range(3):
        with folder() as data_dir:
            fresh.append(_foreground(data_dir))
            again.extend(_foreground(data_dir) for _ in range(3))
    with folder() as data_dir:
        up(data_dir)
        time.sleep(3)
        memory.append(_resident(control(data_dir)["pid"]))
        down(data_dir)
    bare = [_seconds([sys.executable, "-c", "pass"]) for _ in range(11)]
    usage = [_seconds([*CLI, "--help"]) for _ in range(11)]
    publish(
        "Start-up: from the command to the first answer",
        [
            figure("valhalla up, from nothing", "s", fresh, goal=5),
            figure("valhalla up, second start", "s", again, goal=1),
            figure("own process, idle", "MB", memory, goal=120),
            figure("python -c pass (floor)", "ms", [s * 1000 for s in bare]),
            figure("valhalla --help", "ms", [s * 1000 for s in usage], goal=150),
        ],
    )


def _foreground(data_dir: Path) -> float:
    """Start in the foreground, wait for the line that says ready, stop with SIGINT; return the seconds to ready."""
    started = time.monotonic()
    with subprocess.Popen(
        [*CLI, "--data-dir", str(data_dir), "up"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if _READY.search(line):
                break
        seconds = time.monotonic() - started
        process.send_signal(2)
        process.stdout.read()
    return seconds


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def _seconds(command: list[str]) -> float:
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started
