"""Migrating the control plane's database without starting the control plane."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Generator
from typing import Any

from valhalla.embedded import Endpoints
from valhalla.kit import migrate
from valhalla.kit.cellkey import CellKey
from valhalla.kit.db import Database
from valhalla.kit.settings import Settings, load
from valhalla.runtime import embedded_url, ensure_bootstrapped
from valhalla.server import files
from valhalla.server.options import ServeOptions
from valhalla.server.process import embedded_stack


def upgrade(options: ServeOptions) -> str | None:
    """Bring the database to this version's schema and return the revision.

    Raises:
        Problem: the database cannot be reached or is newer than this version.
    """
    with _database(options) as url:
        migrate.upgrade_blocking(url)
        return _revision(url)


def current(options: ServeOptions) -> str | None:
    """Return the database's revision, None for one without.

    Raises:
        Problem: the database cannot be reached.
    """
    with _database(options) as url:
        return _revision(url)


def _revision(url: str) -> str | None:
    database = Database(url)
    try:
        return database.run_blocking(migrate.current)
    finally:
        asyncio.run(database.close())


@contextlib.contextmanager
def _database(options: ServeOptions) -> Generator[str]:
    """Lend the database's URL: the external one, the running control plane's, or one started for this."""
    overrides: dict[str, Any] = dict(options.overrides)
    if options.data_dir is not None:
        overrides["data_dir"] = options.data_dir
    settings: Settings = load(options.config, **overrides)
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    data_dir = files.prepare(settings.data_dir)
    cell = CellKey.load_or_create(data_dir / "cell.key")
    control = data_dir / files.CONTROL
    if control.is_file():
        port = json.loads(control.read_text())["services"]["postgres"]["address"].rpartition(":")[2]
        yield embedded_url(cell, Endpoints(postgres_port=int(port)))
        return
    stack = embedded_stack(settings, data_dir, cell)
    assert stack is not None
    try:
        endpoints = stack.start()
        assert endpoints.postgres_superuser_url is not None
        url = embedded_url(cell, endpoints)
        asyncio.run(ensure_bootstrapped(endpoints.postgres_superuser_url, url, cell))
        yield url
    finally:
        stack.stop()
