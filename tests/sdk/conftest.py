"""One control plane for all tests of the clients."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.fake_plane import FakePlane
from tests.sdk.real import running

from valhalla import Client


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the developer's own environment, and an empty current directory."""
    for name in [name for name in os.environ if name.startswith("VALHALLA_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    with running() as data:
        yield data


@pytest.fixture
def client(data_dir: Path) -> Iterator[Client]:
    with Client(data_dir=data_dir) as opened:
        yield opened


@pytest.fixture
def fake() -> Iterator[FakePlane]:
    plane = FakePlane()
    yield plane
    plane.stop()
