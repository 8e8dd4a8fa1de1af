"""The world of the probes, fresh for every test, on servers of the session."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Servers
from tests.guard.egress.world import Mail, Web, World

from valhalla.cli.child import Child
from valhalla.guard.egress import CannotSeal
from valhalla.guard.egress.child import Confined


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


@pytest.fixture(scope="module")
def namespaces() -> None:
    try:
        with Child() as child, Confined([]) as confined:
            child.run(["true"], confined.environment(os.environ), confined)
    except CannotSeal as error:
        pytest.skip(f"no confined processes: {error.detail}")
