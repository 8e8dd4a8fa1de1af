"""A real control plane for the tests of its clients, started as users start it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


def valhalla(data_dir: Path, *words: str) -> str:
    """Run the command line on a data directory and return what it printed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("VALHALLA_")}
    command = [sys.executable, "-m", "valhalla.cli", "--data-dir", str(data_dir), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=env).stdout


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Lend a folder that the account of the servers can pass through."""
    folder = Path(tempfile.mkdtemp(prefix="vh-sdk-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def running() -> Iterator[Path]:
    """Lend the data directory of a control plane that runs."""
    with open_folder() as folder:
        data_dir = folder / "data"
        valhalla(data_dir, "up", "--detach")
        try:
            yield data_dir
        finally:
            valhalla(data_dir, "down")
