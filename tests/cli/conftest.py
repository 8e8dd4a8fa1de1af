"""A fake plane, a data directory that points at it, and two ways to call the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.calling import PROGRAM, Result, Run, call, start_ticks, write_control
from tests.cli.fake_plane import FakePlane

from valhalla.cli.main import run


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the developer's own environment, and an empty current directory."""
    for name in [name for name in os.environ if name.startswith("VALHALLA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


@pytest.fixture
def plane() -> Iterator[FakePlane]:
    fake = FakePlane()
    yield fake
    fake.stop()


@pytest.fixture
def data_dir(plane: FakePlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory whose control plane is the fake, recorded as this process."""
    folder = tmp_path / "data"
    write_control(folder, plane.url, os.getpid(), start_ticks(os.getpid()))
    monkeypatch.setenv("VALHALLA_DATA_DIR", str(folder))
    return folder


@pytest.fixture
def valhalla(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run a command line in this process."""

    def call(*words: str) -> Result:
        capsys.readouterr()
        code = run(words)
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return call


@pytest.fixture
def process() -> Callable[..., Result]:
    """Run a command line as a process of its own."""

    def call(*words: str) -> Result:
        done = subprocess.run([*PROGRAM, *words], capture_output=True, check=False, text=True, timeout=30)
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="module")
def up() -> Iterator[tuple[Path, Result]]:
    """A control plane in the background: its data directory, and what the start printed."""
    folder = Path(tempfile.mkdtemp(prefix="vh-cli-"))
    # as root, Postgres runs under another account, which must be able to pass through
    folder.chmod(0o711)
    data_dir = folder / "data"
    try:
        yield data_dir, call(data_dir, "up", "--detach")
    finally:
        call(data_dir, "down")
        shutil.rmtree(folder)


@pytest.fixture
def real(up: tuple[Path, Result]) -> Run:
    data_dir, started = up
    assert started.code == 0, started.err
    return lambda *words: call(data_dir, *words)


@pytest.fixture
def quick(up: tuple[Path, Result], real: Run, valhalla: Run) -> Run:
    """The same without a process per command, where a process is not the point."""
    del real
    return lambda *words: valhalla("--data-dir", str(up[0]), *words)
