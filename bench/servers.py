"""Servers that a benchmark has for itself, without a control plane."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg import sql

from bench.plane import folder
from valhalla.embedded import Endpoints, Stack
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.kit.migrate import upgrade_blocking


class Alone(NamedTuple):
    """A server of whoever has ``cell``: Postgres is reached as its superuser, NATS trusts the cell's operator."""

    url: str
    cell: CellKey
    data_dir: Path


@contextmanager
def postgres_alone() -> Generator[Alone]:
    """Lend a throw-away Postgres."""
    with _started("postgres") as (endpoints, cell, data_dir):
        assert endpoints.postgres_superuser_url is not None
        yield Alone(endpoints.postgres_superuser_url, cell, data_dir)


@contextmanager
def migrated_database(name: str) -> Generator[Alone]:
    """Lend a throw-away Postgres; its address is that of a database with the control plane's tables."""
    with postgres_alone() as lent:
        with psycopg.connect(lent.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        url = f"{lent.url.rsplit('/', 1)[0]}/{name}"
        upgrade_blocking(url)
        yield lent._replace(url=url)


@contextmanager
def nats_alone() -> Generator[Alone]:
    """Lend a throw-away NATS server."""
    with _started("nats") as (endpoints, cell, data_dir):
        assert endpoints.nats_url is not None
        yield Alone(endpoints.nats_url, cell, data_dir)


@contextmanager
def _started(name: str) -> Generator[tuple[Endpoints, CellKey, Path]]:
    with folder() as data_dir:
        data_dir.mkdir(mode=0o700)
        cell = CellKey.load_or_create(data_dir / "cell.key")
        stack = Stack(data_dir, cell, want=frozenset({name}), nats_operator=natsauth.trust(cell))
        try:
            yield stack.start(), cell, data_dir
        finally:
            stack.stop()
