"""A control plane that runs already, for the tests of what does not depend on who started it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sdk.real import running

from valhalla import Client


@pytest.fixture(scope="session")
def plane() -> Iterator[Path]:
    with running() as data_dir:
        yield data_dir


@pytest.fixture
def admin(plane: Path) -> Iterator[Client]:
    with Client(data_dir=plane, api_key=(plane / "admin.key").read_text().strip()) as client:
        yield client
