"""A control plane of its own for a benchmark, as a user would start it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CLI = [sys.executable, "-m", "valhalla.cli"]


def up(data_dir: Path) -> float:
    """Start in the background; return the seconds until it answers."""
    started = time.monotonic()
    subprocess.run([*CLI, "--data-dir", str(data_dir), "up", "--detach", "-q"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def down(data_dir: Path) -> None:
    """Stop it."""
    subprocess.run([*CLI, "--data-dir", str(data_dir), "down", "-q"], check=True, stdout=subprocess.DEVNULL)


def control(data_dir: Path) -> dict[str, Any]:
    """Return what it says about itself."""
    return json.loads((data_dir / "control.json").read_text())


@contextmanager
def folder() -> Generator[Path]:
    """Lend a data directory that is gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="valhalla-bench-"))
    path.chmod(0o711)
    try:
        yield path / "data"
    finally:
        shutil.rmtree(path, ignore_errors=True)
