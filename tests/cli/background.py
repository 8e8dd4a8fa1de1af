"""A real control plane in the background for the tests of one module, and calls of the command line to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.calling import PROGRAM


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """Where it keeps its data."""
    folder = Path(tempfile.mkdtemp(prefix="vh-cli-"))
    folder.chmod(0o711)
    try:
        call(folder / "data", "up", "--detach")
        yield folder / "data"
    finally:
        call(folder / "data", "down")
        shutil.rmtree(folder)


def environment(**more: str) -> dict[str, str]:
    """Return ours, without what is the developer's own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("VALHALLA_")} | more


def call(data_dir: Path, *words: str) -> str:
    """Call the command line, and return what it says; it must succeed."""
    command = [*PROGRAM, "--data-dir", str(data_dir), *words]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=90, env=environment()).stdout
