"""What all connections of bots in one process share."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing.discord.bots.guilds import Guilds
from valhalla.sandbox.routing.discord.bots.line import Line
from valhalla.sandbox.routing.discord.bots.pace import Pace
from valhalla.sandbox.routing.discord.bots.positions import Positions
from valhalla.sandbox.routing.discord.bots.sessions import PRODUCTION, Session
from valhalla.sandbox.routing.discord.outbound import claims
from valhalla.sandbox.routing.discord.outbound.tokens import sandbox_of
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
    production: SecretStr | None = None
    """The real token, if the real bot may connect here, too."""
    counts: Counter[str] = field(default_factory=Counter[str])

    @property
    def me(self) -> str:
        """The id of the bot's user."""
        return str(self.bot["id"])

    def owner(self, token: str) -> str | None:
        """Return the id of the sandbox whose bot shows a token, or ``PRODUCTION``; None for nobody's."""
        if self.production is not None and token.isascii():
            real = self.production.get_secret_value()
            if hmac.compare_digest(token.encode(), real.encode()):
                return PRODUCTION
        return sandbox_of(self.cell, f"Bot {token}")

    async def is_running(self, sandbox: str) -> bool:
        """Say whether a sandbox runs; production does.

        Raises:
            Unavailable: nobody can say.
        """
        return sandbox == PRODUCTION or await self.runs(sandbox)

    def visible(self, session: Session) -> list[str] | None:
        """Return the guilds of a session's shard as the claims are now; None while nobody knows them."""
        table = self.table()
        if table is None:
            return None
        if session.sandbox == PRODUCTION:
            found = claims.unclaimed(table, self.guilds.mine)
        else:
            found = claims.visible(table, session.sandbox)
        return [guild for guild in found if session.sees(guild)]
