"""One Postgres per session, one migrated database per test module."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator

import psycopg
import pytest
from tests.kit.house import House
from tests.servers import Postgres, copy_migrated, start_postgres

from valhalla.kit.cellkey import CellKey
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's cluster."""
    server = start_postgres()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def new_database(postgres: Postgres) -> Callable[[], str]:
    """Makes an empty database and returns its URL."""

    def make() -> str:
        name = f"t{next(_numbers)}"
        with psycopg.connect(postgres.url, autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return postgres.url.rsplit("/", 1)[0] + f"/{name}"

    return make


@pytest.fixture(scope="session")
def new_migrated(postgres: Postgres) -> Callable[[], str]:
    """Makes a database of the newest schema and returns its URL."""
    return lambda: copy_migrated(postgres.url, f"t{next(_numbers)}")


@pytest.fixture(scope="module")
def database_url(new_migrated: Callable[[], str]) -> str:
    """The URL of the module's migrated database."""
    return new_migrated()


@pytest.fixture(scope="module")
async def db(database_url: str) -> AsyncIterator[Database]:
    """The module's database."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def cell() -> CellKey:
    """A fixed cell key."""
    return CellKey(bytes(range(32)))


@pytest.fixture(scope="session")
def ledger(cell: CellKey) -> Ledger:
    """The ledger under that key."""
    return Ledger(cell)


@pytest.fixture
def house(db: Database, ledger: Ledger) -> House:
    return House(db, ledger)
