"""The process of ``valhalla ingress discord-api``: to sandboxes' bots it is Discord, and they never hold its token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from valhalla.guard.guard import Guard
from valhalla.guard.stores.postgres import PostgresStore
from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Misconfigured
from valhalla.kit import natsauth
from valhalla.kit.ledger import Ledger
from valhalla.sandbox.routing.discord.bots.composing import gateway
from valhalla.sandbox.routing.discord.bots.line import Line
from valhalla.sandbox.routing.discord.outbound.guarding import GuardedWrites
from valhalla.sandbox.routing.discord.outbound.lock import Lock
from valhalla.sandbox.routing.discord.outbound.metrics import LockMetrics
from valhalla.sandbox.routing.discord.outbound.pacing import Pacer
from valhalla.sandbox.routing.discord.outbound.running import Running
from valhalla.sandbox.routing.discord.outbound.serving import serve
from valhalla.sandbox.routing.discord.outbound.upstream import Upstream
from valhalla.sandbox.routing.table import RouteTable
from valhalla.server.beside import Beside, measured, run, until_signalled
from valhalla.server.options import ServeOptions

Tell = Callable[[dict[str, Any]], None]
"""Gets a document when it listens (``kind`` is ``listening``), and at the ``end``."""


def lock(
    options: ServeOptions,
    token: SecretStr,
    api: str,
    listen: tuple[str, int],
    tell: Tell,
    *,
    metrics: tuple[str, int] | None = None,
    public: str = "",
    production: bool = False,
) -> int:
    """Answer bots until SIGINT or SIGTERM; calls that are under way are answered. ``api`` is Discord's base.

    ``public`` is where bots find the gateway, if it is not where they ask. ``production``: with the real token the
    real bot may connect there, too.

    Raises:
        Misconfigured: the address cannot be listened on.
        Unavailable: the database, NATS or Discord cannot be reached.
        TokenRefused: Discord does not take the token.
    """
    real = token if production else None
    return run(_main(Beside.of(options), Upstream(api, token), listen, tell, metrics, public, real))


async def _main(
    beside: Beside,
    upstream: Upstream,
    listen: tuple[str, int],
    tell: Tell,
    metrics: tuple[str, int] | None,
    public: str,
    production: SecretStr | None,
) -> None:
    db = await beside.database("discord-api")
    # what it notes of actions the control plane carries into the ledger
    guard = Guard(PostgresStore(beside.database_url))
    ingress = beside.ingress("discord-api")

    def table() -> RouteTable | None:
        # routes of an ingress that has lost its lease may be old: claims do not wait for it any more
        return ingress.table if ingress.is_live else None

    writes = GuardedWrites(guard, db, Ledger(beside.cell))
    pacer, runs = Pacer(), Running(db, Clock())
    made = Lock(beside.cell, upstream, table, runs, writes, pacer=pacer)
    host, port = listen
    stop = until_signalled()
    try:
        application = await made.start()
        await ingress.start()
        line = Line(beside.nats_url, natsauth.control_creds(beside.cell), tls=beside.tls)
        bots = gateway(beside.cell, made, upstream, pacer, line, table, runs, public=public, production=production)
        await bots.start()

        async def until(at: int) -> None:
            tell({"kind": "listening", "host": host, "port": at, "application": application})
            await stop.wait()

        with measured(LockMetrics(made, ingress, bots), metrics):
            await serve(made, host, port, until, bots)
        tell({"kind": "end", **made.counts, **{f"bots_{name}": number for name, number in bots.shared.counts.items()}})
    except OSError as error:
        raise Misconfigured(
            f"cannot listen on {host}:{port}: {error.strerror}",
            help="Stop what uses the port, or choose another with --listen.",
            setting="listen",
        ) from error
    finally:
        await ingress.stop(patience=0)
        await upstream.close()
        guard.close()
        await db.close()
