"""One sandbox and one set of tables for the run; every test in a transaction that is rolled back."""

import pytest
from shop import Base
from sqlalchemy import create_engine
from sqlalchemy.orm import Session


@pytest.fixture(scope="session")
def engine(sandbox_session):
    engine = create_engine(sandbox_session.sqlalchemy_url("psycopg"))
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine):
    # the program's commits end savepoints; the outer transaction is never committed
    with engine.connect() as connection, connection.begin() as transaction:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            yield session
        transaction.rollback()


@pytest.fixture
def own_engine(sandbox):
    """For what a rolled back transaction cannot show: several connections, locks, what is visible after a commit."""
    engine = create_engine(sandbox.sqlalchemy_url("psycopg"))
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()
