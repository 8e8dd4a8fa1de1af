"""Stacks on temporary folders; whatever a test leaves running is stopped."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from valhalla.embedded import Stack
from valhalla.kit.cellkey import CellKey
from valhalla.kit.natsauth import trust

MakeStack = Callable[..., Stack]


@pytest.fixture
def cell() -> CellKey:
    return CellKey(b"embedded servers' test cell key!")


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory that every user can reach, unlike ``tmp_path`` (pytest closes its parents)."""
    base = Path(tempfile.mkdtemp(prefix="valhalla-embedded-"))
    base.chmod(0o755)
    yield base / "data"
    shutil.rmtree(base)


@pytest.fixture
def make_stack(data_dir: Path, cell: CellKey) -> Iterator[MakeStack]:
    made: list[Stack] = []

    def make(*want: str, where: Path = data_dir, key: CellKey = cell) -> Stack:
        wanted = frozenset(want or ("postgres", "valkey", "nats"))
        made.append(Stack(where, key, want=wanted, nats_operator=trust(key)))
        return made[-1]

    yield make
    for stack in made:
        stack.stop()


@pytest.fixture
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
