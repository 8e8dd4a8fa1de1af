"""Plain psycopg: what a test commits is real, and gone with its sandbox."""

import psycopg
import pytest


@pytest.fixture
def database(sandbox):
    with psycopg.connect(sandbox.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE orders (id int PRIMARY KEY, item text NOT NULL)")
        yield connection


@pytest.mark.sandbox(template="empty")
def test_an_order_is_stored(database):
    database.execute("INSERT INTO orders VALUES (1, 'book')")

    assert database.execute("SELECT item FROM orders").fetchall() == [("book",)]


@pytest.mark.sandbox(template="empty")
def test_every_test_begins_with_nothing(database):
    assert database.execute("SELECT item FROM orders").fetchall() == []


def test_one_cannot_read_the_other(sandbox_factory):
    mine, other = sandbox_factory(template="empty"), sandbox_factory(template="empty")
    with psycopg.connect(mine.database_url) as connection:
        connection.execute("CREATE TABLE secrets (id int)")

    with (
        psycopg.connect(other.database_url) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(f"SELECT * FROM {mine.schema}.secrets")
