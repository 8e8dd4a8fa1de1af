"""What all connections of bots in one process share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing.discord.bots.guilds import Guilds
from valhalla.sandbox.routing.discord.bots.line import Line
from valhalla.sandbox.routing.discord.bots.pace import Pace
from valhalla.sandbox.routing.discord.bots.positions import Positions
from valhalla.sandbox.routing.discord.bots.sessions import Session
from valhalla.sandbox.routing.discord.outbound import claims
from valhalla.sandbox.routing.table import RouteTable


@dataclass(slots=True)
class Shared:
    """``application`` is Discord's document of the bot's application, ``runs`` says whether a sandbox does."""

    cell: CellKey
    line: Line
    positions: Positions
    guilds: Guilds
    table: Callable[[], RouteTable | None]
    runs: Callable[[str], Awaitable[bool]]
    application: dict[str, Any]
    bot: dict[str, Any]
    pace: Pace
    counts: Counter[str] = field(default_factory=Counter[str])

    @property
    def me(self) -> str:
        """The id of the bot's user."""
        return str(self.bot["id"])

    def visible(self, session: Session) -> list[str] | None:
        """Return the guilds of a session's shard as the claims are now; None while nobody knows them."""
        table = self.table()
        if table is None:
            return None
        return [guild for guild in claims.visible(table, session.sandbox) if session.sees(guild)]
