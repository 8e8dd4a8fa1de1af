"""Guards to test: sync and async, on the fused path and on the general one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.guard.faces import ROLES, Face, Time
from tests.servers import start_postgres

from valhalla.guard import Guard


@pytest.fixture(scope="session")
def guard_url() -> Iterator[str]:
    """A server of its own: an open transaction of anybody's, in any database, hides the newest lines of a store."""
    server = start_postgres()
    yield server.url
    server.stop()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(params=["fused", "general"])
def guard(request: pytest.FixtureRequest, time: Time) -> Iterator[Guard]:
    made = Guard(roles=ROLES, clock=time, fused=request.param == "fused", patience=5.0)
    yield made
    made.close()


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest, guard: Guard) -> Face:
    return Face(guard, is_async=request.param == "async")
