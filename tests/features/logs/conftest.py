"""A migrated database, shared by the tests of log lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.conftest import Servers
from tests.servers import migrated_database

from valhalla.kit.db import Database


@pytest.fixture(scope="session")
def migrated(servers: Servers) -> Iterator[str]:
    """The URL of a migrated database."""
    with migrated_database(servers.superuser_url, "logs") as url:
        yield url


@pytest.fixture
async def db(migrated: str) -> AsyncIterator[Database]:
    """The database."""
    database = Database(migrated)
    yield database
    await database.close()
