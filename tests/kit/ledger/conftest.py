"""A database in which a ledger may be tampered with, and nothing of it stays."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
import sqlalchemy.exc


@pytest.fixture(scope="module")
def engine(database_url: str) -> Any:
    engine = sa.create_engine(
        database_url.replace("postgresql:", "postgresql+psycopg:"), json_deserializer=__import__("orjson").loads,
        json_serializer=lambda v: __import__("orjson").dumps(v).decode(),
    )  # fmt: skip
    yield engine
    engine.dispose()


@pytest.fixture
def conn(engine: sa.Engine) -> Any:
    """A transaction that leaves nothing behind, in which the triggers can be switched off."""
    with engine.connect() as connection:
        yield connection
        connection.rollback()
