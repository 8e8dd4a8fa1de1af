"""Orchestrators: one that only plans, one whose actions happen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from valhalla import SandboxOrchestrator


@pytest.fixture
def sandbox() -> Iterator[SandboxOrchestrator]:
    """Return one in a dry run."""
    with SandboxOrchestrator() as made:
        yield made


@pytest.fixture
def live() -> Iterator[SandboxOrchestrator]:
    """Return one whose actions happen."""
    with SandboxOrchestrator(dry_run=False, roles={"ana": ["finance"]}) as made:
        yield made
