"""A migrated database, shared by the tests of log lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from tests.conftest import Servers

from valhalla.kit.db import Database
from valhalla.kit.migrate import upgrade_blocking


@pytest.fixture(scope="session")
def migrated(servers: Servers) -> Iterator[str]:
    """The URL of a migrated database."""
    with psycopg.connect(servers.superuser_url, autocommit=True) as conn:
        conn.execute("CREATE DATABASE logs TEMPLATE template0")
    url = servers.superuser_url.rsplit("/", 1)[0] + "/logs"
    upgrade_blocking(url)
    yield url
    with psycopg.connect(servers.superuser_url, autocommit=True) as conn:
        conn.execute("DROP DATABASE logs WITH (FORCE)")


@pytest.fixture
async def db(migrated: str) -> AsyncIterator[Database]:
    """The database."""
    database = Database(migrated)
    yield database
    await database.close()
