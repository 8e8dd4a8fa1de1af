"""Which servers a control plane stands on, and how they are reached: embedded ones, or those that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import asyncpg

from valhalla.embedded import Endpoints
from valhalla.kernel.problems import Misconfigured
from valhalla.kit import natsauth, natstls
from valhalla.kit.cellkey import CellKey
from valhalla.kit.settings import Settings
from valhalla.sandbox.backends import Backends
from valhalla.sandbox.slices.nats import NatsSlice
from valhalla.sandbox.slices.postgres import (
    Bootstrap,
    PostgresLimits,
    PostgresSlice,
    bootstrap,
    is_bootstrapped,
)
from valhalla.sandbox.slices.sqlite import SqliteSlice
from valhalla.sandbox.slices.valkey import ValkeySlice

CONTROL_ROLE: Final = "valhalla"


def embedded_url(cell: CellKey, endpoints: Endpoints) -> str:
    """Return the control plane's own URL of the embedded Postgres."""
    password = cell.password("control.postgres")
    return f"postgresql://{CONTROL_ROLE}:{password}@127.0.0.1:{endpoints.postgres_port}/{CONTROL_ROLE}"


async def ensure_bootstrapped(superuser_url: str, control_url: str, cell: CellKey) -> None:
    """Make role, database and hardened template in an embedded cluster that does not have them yet."""
    try:
        connection = await asyncpg.connect(control_url, timeout=5)
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError):
        done = False
    else:
        try:
            done = await is_bootstrapped(connection, cell.cell)
        finally:
            await connection.close()
    if not done:
        plan = Bootstrap(CONTROL_ROLE, cell.password("control.postgres"), CONTROL_ROLE, cell.cell)
        await bootstrap(superuser_url, plan, exclusive=True)


def database_url(settings: Settings, cell: CellKey, endpoints: Endpoints) -> str:
    """Return the control plane's own URL of its Postgres: secret."""
    external = settings.database_url
    return embedded_url(cell, endpoints) if external is None else external.get_secret_value()


def nats_url(settings: Settings, endpoints: Endpoints) -> str:
    """Return where NATS is.

    Raises:
        Misconfigured: nobody says where.
    """
    url = settings.nats_url or endpoints.nats_url
    if url is None:
        raise Misconfigured("neither an embedded nor an external NATS is known", setting="nats_url")
    return url


def valkey_url(settings: Settings, endpoints: Endpoints) -> str:
    """Return the Valkey's URL, with the credentials of an administrator.

    Raises:
        Misconfigured: nobody says where it is.
    """
    found = endpoints.valkey_url if settings.valkey_url is None else settings.valkey_url.get_secret_value()
    if found is None:
        raise Misconfigured("neither an embedded nor an external Valkey is known", setting="valkey_url")
    return found


def backends(settings: Settings, cell: CellKey, endpoints: Endpoints) -> Backends:
    """Return the slices' backends; nothing is connected yet.

    Raises:
        Misconfigured: nobody says where one is.
    """
    limits = PostgresLimits(
        connections=settings.sandbox_connections,
        statement_timeout=settings.sandbox_statement_timeout,
        scram_iterations=settings.scram_iterations,
    )
    valkey = valkey_url(settings, endpoints)
    operator = None
    creds = None
    if settings.nats_operator_seed is not None and settings.nats_system_creds is not None:
        operator = natsauth.KeyPair.from_seed(settings.nats_operator_seed.get_secret_value())
        creds = _text_or_file(settings.nats_system_creds.get_secret_value())
    return Backends(
        postgres=PostgresSlice(database_url(settings, cell, endpoints), cell, limits=limits),
        valkey=ValkeySlice(valkey, cell),
        nats=NatsSlice(
            nats_url(settings, endpoints),
            cell,
            operator=operator,
            system_creds=creds,
            jwt_dir=endpoints.nats_jwt_dir,
            tls=natstls.of(settings),
        ),
        sqlite=SqliteSlice(settings.sqlite_dir or settings.data_dir / "sqlite", cell),
    )


def services(settings: Settings, endpoints: Endpoints, found: Backends) -> dict[str, Any]:
    """Say where each backend is, without credentials."""
    return {
        "postgres": {"mode": _mode(settings.database_url), "address": found.postgres.address},
        "valkey": {"mode": _mode(settings.valkey_url), "address": found.valkey.address},
        "nats": {"mode": _mode(settings.nats_url), "address": settings.nats_url or endpoints.nats_url},
    }


def _mode(external: object) -> str:
    return "embedded" if external is None else "external"


def _text_or_file(value: str) -> str:
    if "-----BEGIN" in value:
        return value
    try:
        return Path(value).read_text()
    except OSError as error:
        raise Misconfigured(f"nats_system_creds: {error}", setting="nats_system_creds") from error
