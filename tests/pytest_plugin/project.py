"""Runs of pytest in a project of their own, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from valhalla.sdk.discovery import process_runs

# the plugins of our own development would take seconds to load in each of the runs
PYTEST = [
    sys.executable,
    "-m",
    "pytest",
    "-p",
    "no:cacheprovider",
    "-p",
    "xdist.plugin",
    "-p",
    "valhalla.pytest_plugin",
]


def environment(data_dir: Path | None = None, **more: str) -> dict[str, str]:
    """Return the variables of a run; ``data_dir`` is the project's, else nothing but the root directory says it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VALHALLA_", "PYTEST_"))}
    named = {} if data_dir is None else {"VALHALLA_DATA_DIR": str(data_dir)}
    return {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **named, **more}


def start(folder: Path, env: dict[str, str], *words: str) -> subprocess.Popen[str]:
    """Start a run."""
    command = [*PYTEST, *words]
    return subprocess.Popen(command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def run(folder: Path, env: dict[str, str], *words: str) -> tuple[int, str]:
    """Run to the end; return the exit code and what was printed."""
    process = start(folder, env, *words)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


def runs(record: dict[str, int]) -> bool:
    """Say whether the process of a record still runs."""
    return process_runs(record["pid"], record["started"])
