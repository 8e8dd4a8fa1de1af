"""The process of ``valhalla ingress proxy``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from valhalla.gate.rules import networks
from valhalla.kernel.problems import Misconfigured, Problem
from valhalla.kit.changes import Feed, Snapshot
from valhalla.kit.ledger import Ledger
from valhalla.kit.log import get_logger
from valhalla.kit.outgoing_guard import Base
from valhalla.kit.registry import Registry
from valhalla.sandbox.routing.http.keys import Keys
from valhalla.sandbox.routing.http.proxy.contracts import Target, Terms
from valhalla.sandbox.routing.http.proxy.selecting import Selector, check_terms, known_of
from valhalla.sandbox.routing.http.upstreams.contracts import UPSTREAMS, Upstream
from valhalla.sandbox.routing.http.upstreams.rules import Allowed
from valhalla.server.beside import Beside, measured, run, until_signalled
from valhalla.server.options import ServeOptions

if TYPE_CHECKING:
    from valhalla.sandbox.routing.http.proxy.connecting import Patience

_log = get_logger("server.proxying")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where it listens, and Prometheus may ask; ``grace`` in seconds is for requests under way when it ends."""

    host: str
    port: int
    grace: float = 10.0
    metrics: tuple[str, int] | None = None


def proxy(
    options: ServeOptions,
    production: str,
    terms: Terms,
    listening: Listening,
    patience: Patience,
    *,
    max_body: int = 0,
    own_host: bool = False,
) -> int:
    """Send requests to sandboxes or to production until SIGINT or SIGTERM; return the exit status.

    Raises:
        Misconfigured: production has no usable URL, a header cannot route, or the address cannot be listened on.
        Unavailable: the database or NATS cannot be reached.
    """
    try:
        home = Target(Base.parse(production), own_host=own_host)
    except ValueError as error:
        raise Misconfigured(f"production: {error}", setting="production") from error
    checked = check_terms(terms)
    return run(_main(Beside.of(options), home, checked, listening, patience, max_body))


async def _main(
    beside: Beside, production: Target, terms: Terms, listening: Listening, patience: Patience, max_body: int
) -> None:
    from valhalla.sandbox.routing.http.proxy.metrics import ProxyMetrics
    from valhalla.sandbox.routing.http.proxy.server import Frame, Proxy, serve

    settings = beside.settings
    allowed = Allowed.of(settings.upstream_networks, loopback=settings.is_loopback)
    db = await beside.database("proxy")
    feed = Feed(db)
    feed.add(Registry(UPSTREAMS, Upstream, Ledger(beside.cell)))
    known = feed.view(UPSTREAMS, lambda snapshot: known_of(_targets(snapshot, allowed)))
    ingress = beside.ingress("proxy")
    frame = Frame(
        production=production,
        via=f"valhalla-{beside.cell.cell}",
        trusted=networks(settings.trusted_proxies),
        max_body=max_body,
        patience=patience,
    )
    answering = Proxy(frame, Selector(terms, Keys(beside.cell)), lambda: known.value, ingress, allowed)
    feed.subscribe(UPSTREAMS, lambda _: answering.settle())
    stop = until_signalled()
    try:
        await feed.start()
        await ingress.start()

        async def until(port: int) -> None:
            print(f"Proxy listens on {listening.host}:{port}; production is {production.root}", flush=True)  # noqa: T201 - says that it is there
            await stop.wait()

        with measured(ProxyMetrics(answering), listening.metrics):
            await serve(answering, listening.host, listening.port, grace=listening.grace, until=until)
    except OSError as error:
        raise Misconfigured(
            f"cannot listen on {listening.host}:{listening.port}: {error.strerror}",
            help="Stop what uses the port, or choose another with --listen.",
            setting="listen",
        ) from error
    finally:
        _log.info("the proxy ends", **answering.counts)
        await asyncio.gather(ingress.stop(), feed.stop(), return_exceptions=True)
        await db.close()


def _targets(snapshot: Snapshot[Upstream], allowed: Allowed) -> Iterator[Target]:
    for record in snapshot.records.values():
        value: Upstream = record.value
        try:
            base = allowed.base(value.url)
        except Problem as problem:
            # allowed when it was registered, and not in the settings of this process
            _log.warning("an upstream is left out", sandbox_id=value.sandbox, error=problem.detail)
            continue
        yield Target(base, value.sandbox, value.name, value.own_host)
