"""Guards to test: sync and async, on the fused path and on the general one."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy.engine import make_url
from tests.conftest import Servers
from tests.guard.faces import ROLES, Face, Time

from valhalla.guard import Guard


@pytest.fixture(scope="session")
def guard_url(servers: Servers) -> Iterator[str]:
    """A database of its own: a control plane carries the lines of the guard's store away from its own."""
    with psycopg.connect(servers.superuser_url, autocommit=True) as conn:
        conn.execute("CREATE DATABASE guarded")
        conn.execute("REVOKE ALL ON DATABASE guarded FROM PUBLIC")
    yield make_url(servers.superuser_url).set(database="guarded").render_as_string(hide_password=False)
    with psycopg.connect(servers.superuser_url, autocommit=True) as conn:
        conn.execute("DROP DATABASE guarded WITH (FORCE)")


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
