"""What people use to get an isolated Postgres for a test, each with the verbs get and drop."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import LiteralString, Protocol, cast

import psycopg
from psycopg import conninfo, sql
from pytest_postgresql.janitor import DatabaseJanitor

from valhalla.sandbox.templates import BuiltIn, Templates

TEMPLATE = "bench_peer_template"


class Peer(Protocol):
    """One caller's way to an isolated database."""

    def get(self) -> str:
        """Return the DSN of a fresh one with the template in it."""
        ...

    def drop(self, dsn: str) -> None:
        """Remove it."""
        ...

    def close(self) -> None:
        """End what the caller itself holds."""
        ...


def community() -> LiteralString:
    """Return the SQL of the template that all of them start from."""
    template = Templates().get("community")
    assert isinstance(template, BuiltIn)
    return cast("LiteralString", template.sql)


def prepare(url: str) -> None:
    """Make the template database."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(TEMPLATE)))
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    with psycopg.connect(conninfo.make_conninfo(url, dbname=TEMPLATE), autocommit=True) as connection:
        connection.execute(community())


def clear(url: str) -> None:
    """Remove the template database."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(TEMPLATE)))


class Clone:
    """``CREATE DATABASE … TEMPLATE`` over a connection that stays open; what most in-house fixtures do."""

    strategy: LiteralString = ""

    def __init__(self, url: str) -> None:
        self._url = url
        self._admin = psycopg.connect(url, autocommit=True)

    def get(self) -> str:
        name = f"bench_{secrets.token_hex(6)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} " + self.strategy)
        self._admin.execute(statement.format(sql.Identifier(name), sql.Identifier(TEMPLATE)))
        return conninfo.make_conninfo(self._url, dbname=name)

    def drop(self, dsn: str) -> None:
        name = str(conninfo.conninfo_to_dict(dsn)["dbname"])
        self._admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def close(self) -> None:
        self._admin.close()


class FileCopy(Clone):
    """The same with ``STRATEGY FILE_COPY``: two checkpoints, but no WAL for the contents."""

    strategy = "STRATEGY FILE_COPY"


class Janitor:
    """pytest-postgresql's own class, as its fixtures call it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open: dict[str, DatabaseJanitor] = {}

    def get(self) -> str:
        server = conninfo.conninfo_to_dict(self._url)
        janitor = DatabaseJanitor(
            user=str(server["user"]),
            host=str(server["host"]),
            port=str(server["port"]),
            password=str(server.get("password", "")),
            dbname=f"bench_{secrets.token_hex(6)}",
            template_dbname=TEMPLATE,
        )
        janitor.init()
        dsn = conninfo.make_conninfo(self._url, dbname=janitor.dbname)
        self._open[dsn] = janitor
        return dsn

    def drop(self, dsn: str) -> None:
        self._open.pop(dsn).drop()

    def close(self) -> None:
        pass


class Schema:
    """``CREATE SCHEMA`` and the DDL in one round trip, as the superuser: no role, no border, all metadata shared."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sql = community()
        self._admin = psycopg.connect(url, autocommit=True)

    def get(self) -> str:
        name = f"bench_{secrets.token_hex(6)}"
        schema = sql.Identifier(name)
        script = sql.SQL("CREATE SCHEMA {0}; SET LOCAL search_path = {0}; ").format(schema) + sql.SQL(self._sql)
        # several statements in one simple query are one transaction
        self._admin.execute(script)
        return conninfo.make_conninfo(self._url, options=f"-csearch_path={name}")

    def drop(self, dsn: str) -> None:
        name = str(conninfo.conninfo_to_dict(dsn)["options"]).rpartition("=")[2]
        self._admin.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))

    def close(self) -> None:
        self._admin.close()


KINDS: dict[str, Callable[[str], Peer]] = {
    "pytest-postgresql DatabaseJanitor": Janitor,
    "CREATE DATABASE … TEMPLATE": Clone,
    "CREATE DATABASE … FILE_COPY": FileCopy,
    "CREATE SCHEMA + DDL": Schema,
}
