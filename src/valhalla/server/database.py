"""The control plane's database without the control plane: migrating it, and making it on a server of the user's own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from typing import Any

import asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from valhalla.backing import embedded_url, ensure_bootstrapped
from valhalla.embedded import Endpoints
from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit import migrate
from valhalla.kit.cellkey import CellKey
from valhalla.kit.db import Database
from valhalla.kit.settings import Settings, load
from valhalla.kit.sql import identifier
from valhalla.kit.sqlstates import is_away
from valhalla.sandbox.slices.postgres import Bootstrap
from valhalla.sandbox.slices.postgres import bootstrap as make
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


def bootstrap(options: ServeOptions, superuser_url: str, *, role: str = "valhalla", database: str = "valhalla") -> str:
    """Make role, database and hardened template of this installation on an external server; safe to repeat.

    Nothing of the server's other databases is changed.

    Returns:
        The URL to set as ``database_url``. It holds the role's password, which derives from the cell key.

    Raises:
        Misconfigured: the URL is no superuser's, a name is no identifier, or the role is somebody else's.
        Unavailable: the server cannot be reached.
    """
    for setting, name in (("role", role), ("database", database)):
        try:
            identifier(name)
        except ValueError as error:
            raise Misconfigured(str(error), setting=setting) from error
    cell = _cell(_settings(options))
    plan = Bootstrap(role, cell.password("control.postgres"), database, cell.cell)
    try:
        server = make_url(superuser_url).set(drivername="postgresql")
    except (ArgumentError, ValueError):
        server = None
    if server is None or not server.host:
        raise Misconfigured("it must look like postgresql://superuser@host:port/postgres", setting="superuser_url")
    try:
        asyncio.run(_bootstrap(server, plan))
    except asyncpg.InsufficientPrivilegeError as error:
        raise _no_superuser() from error
    except (asyncpg.PostgresError, OSError, TimeoutError) as error:
        if is_away(error):
            raise Unavailable(
                "postgres", f"the server at {server.host}:{server.port or 5432} cannot be reached"
            ) from error
        raise Misconfigured(str(error), setting="superuser_url") from error
    url = server.set(username=role, password=plan.password, database=database)
    return url.render_as_string(hide_password=False)


async def _bootstrap(server: URL, plan: Bootstrap) -> None:
    url = server.render_as_string(hide_password=False)
    connection = await asyncpg.connect(url, timeout=5)
    try:
        if not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
            raise _no_superuser()
        await _check_role(connection, server, plan)
    finally:
        await connection.close()
    await make(url, plan, exclusive=False)


async def _check_role(connection: Any, server: URL, plan: Bootstrap) -> None:
    """Refuse a role that was not made for this installation: its password would be replaced."""
    row = await connection.fetchrow(
        "SELECT rolsuper, rolcreaterole AND rolcreatedb AS able, rolpassword IS NULL AS fresh"
        " FROM pg_authid WHERE rolname = $1",
        plan.role,
    )
    if row is None:
        return
    ours = row["able"] and not row["rolsuper"] and (row["fresh"] or await _lets_in(server, plan))
    if not ours:
        raise Misconfigured(
            f"the role '{plan.role}' exists and was not made for this installation",
            help="Name another role; or, if nothing else uses it, drop it and try again.",
            setting="role",
        )


async def _lets_in(server: URL, plan: Bootstrap) -> bool:
    url = server.set(username=plan.role, password=plan.password)
    try:
        connection = await asyncpg.connect(url.render_as_string(hide_password=False), timeout=5)
    except asyncpg.InvalidAuthorizationSpecificationError:
        return False
    except asyncpg.PostgresError:
        # past the password, kept out of that database
        return True
    await connection.close()
    return True


def _no_superuser() -> Misconfigured:
    return Misconfigured(
        "the URL is not a superuser's",
        help="Catalogs are hardened by a superuser, once; the control plane itself never is one.",
        setting="superuser_url",
    )


def _revision(url: str) -> str | None:
    database = Database(url)
    try:
        return database.run_blocking(migrate.current)
    finally:
        asyncio.run(database.close())


def _settings(options: ServeOptions) -> Settings:
    overrides: dict[str, Any] = dict(options.overrides)
    if options.data_dir is not None:
        overrides["data_dir"] = options.data_dir
    return load(options.config, **overrides)


def _cell(settings: Settings) -> CellKey:
    if settings.cell_key is not None:
        return CellKey.parse(settings.cell_key.get_secret_value())
    return CellKey.load_or_create(files.prepare(settings.data_dir) / "cell.key")


def running_url(options: ServeOptions) -> str:
    """Return the database's URL, external or of the control plane that runs on the data directory.

    Raises:
        Unavailable: it is embedded and no control plane runs.
    """
    settings = _settings(options)
    # a directory that is not there stays so
    if settings.database_url is None and files.running(settings.data_dir.resolve()) is None:
        raise Unavailable(
            "postgres",
            f"no control plane runs on {settings.data_dir}, and no database_url is set",
            help="Start it with 'valhalla up', name its directory with --data-dir, or, if it runs elsewhere, set its "
            "database_url, nats_url and cell_key (VALHALLA_DATABASE_URL, …).",
        )
    with _database(options) as url:
        return url


@contextlib.contextmanager
def _database(options: ServeOptions) -> Generator[str]:
    """Lend the database's URL: the external one, the running control plane's, or one started for this."""
    settings = _settings(options)
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    data_dir = files.prepare(settings.data_dir)
    cell = _cell(settings)
    running = files.running(data_dir)
    if running is not None:
        port = running["services"]["postgres"]["address"].rpartition(":")[2]
        yield embedded_url(cell, Endpoints(postgres_port=int(port)))
        return
    stack = embedded_stack(settings, data_dir, cell, only="postgres")
    assert stack is not None
    try:
        endpoints = stack.start()
        assert endpoints.postgres_superuser_url is not None
        url = embedded_url(cell, endpoints)
        asyncio.run(ensure_bootstrapped(endpoints.postgres_superuser_url, url, cell))
        yield url
    finally:
        stack.stop()
