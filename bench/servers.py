"""Servers that a benchmark has for itself, without a control plane."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.plane import folder
from valhalla.embedded import Stack
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey


class Nats(NamedTuple):
    """A NATS server that trusts ``cell``."""

    url: str
    cell: CellKey
    data_dir: Path


@contextmanager
def nats_alone() -> Generator[Nats]:
    """Lend a throw-away NATS server."""
    with folder() as data_dir:
        data_dir.mkdir(mode=0o700)
        cell = CellKey.load_or_create(data_dir / "cell.key")
        stack = Stack(data_dir, cell, want=frozenset({"nats"}), nats_operator=natsauth.trust(cell))
        try:
            url = stack.start().nats_url
            assert url is not None
            yield Nats(url, cell, data_dir)
        finally:
            stack.stop()
