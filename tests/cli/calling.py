"""What the tests of the command line share: a call's result, and the record a control plane leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cli.fake_plane import KEY

PROGRAM = [sys.executable, "-m", "valhalla.cli"]


@dataclass
class Result:
    """What a command line left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


def start_ticks(pid: int) -> int:
    """Return field 22 of a process's stat."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def write_control(folder: Path, url: str, pid: int, started: int | None) -> None:
    """Leave the record of a running control plane."""
    folder.mkdir(exist_ok=True)
    key = folder / "admin.key"
    key.write_text(KEY + "\n")
    record = {"pid": pid, "started": started, "url": url, "version": "9", "data_dir": str(folder)}
    control = folder / "control.json"
    control.write_text(json.dumps(record | {"admin_key_file": str(key), "services": {}}))
    control.chmod(0o600)
    key.chmod(0o600)


Run = Callable[..., Result]


def call(data_dir: Path, *words: str) -> Result:
    """Run a command line on a data directory."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("VALHALLA_")}
    command = [*PROGRAM, "--data-dir", str(data_dir), *words]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60, env=env)
    return Result(done.returncode, done.stdout, done.stderr)
