"""No snapshot outlives its test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from valhalla.runtime import Runtime


@pytest.fixture(autouse=True)
def tidy(runtime: Runtime) -> Iterator[None]:
    """No snapshot outlives its test."""
    yield
    snapshots = runtime.sandboxes.templates.snapshots
    assert snapshots is not None
    shutil.rmtree(snapshots.directory, ignore_errors=True)
