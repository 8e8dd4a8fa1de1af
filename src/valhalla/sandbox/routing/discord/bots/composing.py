"""The gateway beside the lock: one process holds the token, knows the routes, and keeps Discord's limits for both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from pydantic import SecretStr

from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing.discord.bots.guilds import Guilds
from valhalla.sandbox.routing.discord.bots.line import Line
from valhalla.sandbox.routing.discord.bots.pace import Pace
from valhalla.sandbox.routing.discord.bots.positions import Positions
from valhalla.sandbox.routing.discord.bots.server import Bots
from valhalla.sandbox.routing.discord.bots.sessions import PRODUCTION
from valhalla.sandbox.routing.discord.bots.shared import Shared
from valhalla.sandbox.routing.discord.outbound.lock import Asked, Lock
from valhalla.sandbox.routing.discord.outbound.pacing import Pacer
from valhalla.sandbox.routing.discord.outbound.through import Through
from valhalla.sandbox.routing.discord.outbound.upstream import Upstream
from valhalla.sandbox.routing.table import RouteTable


def gateway(
    cell: CellKey,
    lock: Lock,
    upstream: Upstream,
    pacer: Pacer,
    line: Line,
    table: Callable[[], RouteTable | None],
    runs: Callable[[str], Awaitable[bool]],
    *,
    public: str = "",
    production: SecretStr | None = None,
    pace: Pace | None = None,
) -> Bots:
    """Return the gateway of a lock that has been started; bots that ask the lock for one are sent here.

    ``production`` is the real token, if the real bot may connect here, too.
    """
    application, bot = (dict(each) for each in lock.identity)
    guilds = Guilds(upstream, pacer, str(bot["id"]))
    pace = pace or Pace()
    positions = Positions(line, pace.kept)
    shared = Shared(cell, line, positions, guilds, table, runs, application, bot, pace, production=production)
    bots = Bots(shared, public)

    def advice(sandbox: str, asked: Asked) -> Mapping[str, Any]:
        return bots.advice(sandbox, asked.headers.get("host", ""))

    lock.advice = advice
    if production is not None:
        lock.through = Through(upstream, production, partial(advice, PRODUCTION))
    return bots
