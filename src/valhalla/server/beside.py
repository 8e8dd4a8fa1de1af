"""What a process beside the control plane stands on: the same database, NATS and cell key, wherever they are."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
from collections.abc import Coroutine, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit import liblog, migrate, natsauth, natstls, redact
from valhalla.kit.cellkey import CellKey
from valhalla.kit.db import Database
from valhalla.kit.log import configure
from valhalla.kit.settings import Settings, load
from valhalla.kit.sqlstates import sqlstate
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.server import files
from valhalla.server.database import running_url
from valhalla.server.options import ServeOptions

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

# invalid_authorization_specification, invalid_password
_REFUSED: Final = "28"


@dataclass(frozen=True, slots=True)
class Beside:
    """Where everything is; nothing is connected yet."""

    settings: Settings
    cell: CellKey
    database_url: str
    nats_url: str
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, options: ServeOptions) -> Beside:
        """Read the settings, and find what runs.

        Raises:
            Misconfigured: a setting is wrong.
            Unavailable: the servers are embedded, and no control plane runs on this data directory.
        """
        overrides: dict[str, Any] = dict(options.overrides)
        if options.data_dir is not None:
            overrides["data_dir"] = options.data_dir
        settings = load(options.config, **overrides)
        configure(level=cast("Any", settings.log_level))
        liblog.capture(cast("Any", settings.log_level))
        redact.hide(settings.redact_fields)
        # asked first: it says in words when no control plane runs
        url = running_url(options)
        cell = _cell_of(settings)
        return cls(settings, cell, url, settings.nats_url or _running_nats(settings), natstls.of(settings))

    async def database(self, name: str) -> Database:
        """Return the database.

        Raises:
            Misconfigured: it is of another release, or refuses the password.
            Unavailable: it cannot be reached.
        """
        db = Database(self.database_url, application_name=f"valhalla-{name}")
        try:
            if await db.run(migrate.needs_upgrade):
                raise Misconfigured("the database is older than this process", setting="database_url")
        except BaseException as error:
            await db.close()
            if (sqlstate(error) or "").startswith(_REFUSED):
                raise Misconfigured(
                    "the database refuses the password of this process",
                    help="It is in database_url, or derives from cell_key: both must be the control plane's.",
                    setting="cell_key" if self.settings.database_url is None else "database_url",
                ) from error
            raise
        return db

    def ingress(self, name: str) -> Ingress:
        """Return an ingress that has not joined yet."""
        return Ingress(self.nats_url, natsauth.control_creds(self.cell), name=name, tls=self.tls)


def run(main: Coroutine[Any, Any, None]) -> int:
    """Run a process's main until it ends; return the exit status."""
    import uvloop

    uvloop.run(main)
    return 0


@contextlib.contextmanager
def measured(collector: Collector, at: tuple[str, int] | None) -> Generator[None]:
    """Let Prometheus ask at an address meanwhile; nowhere for ``None``.

    Raises:
        Misconfigured: the address cannot be listened on.
    """
    if at is None:
        yield
        return
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(collector)
    host, port = at
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise Misconfigured(
            f"metrics cannot be served on {host}:{port}: {error.strerror}",
            help="Stop what uses the port, or choose another with --metrics.",
            setting="metrics",
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def until_signalled() -> asyncio.Event:
    """Return what SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _cell_of(settings: Settings) -> CellKey:
    """Return the installation's cell key, and never a new one: nothing that derives from it would be accepted."""
    if settings.cell_key is not None:
        return CellKey.parse(settings.cell_key.get_secret_value())
    path = settings.data_dir.resolve() / "cell.key"
    if not path.is_file():
        raise Misconfigured(
            f"there is no cell key in {settings.data_dir}, and the passwords for database and NATS derive from it",
            help="Name the control plane's directory with --data-dir, or set cell_key (VALHALLA_CELL_KEY) to its key.",
            setting="cell_key",
        )
    return CellKey.load_or_create(path)


def _running_nats(settings: Settings) -> str:
    running = files.running(settings.data_dir.resolve())
    if running is None:
        raise Unavailable(
            "nats",
            f"no control plane runs on {settings.data_dir}, and no nats_url is set",
            help="Name its directory with --data-dir, or set nats_url (VALHALLA_NATS_URL) to the control plane's.",
        )
    return str(running["services"]["nats"]["address"])
