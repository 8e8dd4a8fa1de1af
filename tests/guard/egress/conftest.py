"""The world of the probes, fresh for every test, on servers of the session."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Servers
from tests.guard.egress.world import Mail, Web, World


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    made = Web()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def mail() -> Iterator[Mail]:
    made = Mail()
    yield made
    made.stop()


@pytest.fixture
def world(servers: Servers, guard_url: str, web: Web, mail: Mail, tmp_path: Path) -> Iterator[World]:
    assert servers.endpoints.valkey_url is not None
    made = World(web, mail, tmp_path, guard_url, servers.endpoints.valkey_url)
    yield made
    for close in made.closers:
        # what a seal cut off may be broken
        with contextlib.suppress(Exception):
            close()
