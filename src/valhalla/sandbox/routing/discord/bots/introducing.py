"""A session's guilds: those of the sandbox's claims, introduced as they come and taken back as they go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from valhalla.sandbox.routing.discord.bots import visibility
from valhalla.sandbox.routing.discord.bots.guilds import Doc
from valhalla.sandbox.routing.discord.bots.sessions import Session
from valhalla.sandbox.routing.discord.bots.shared import Shared

Say = Callable[[str, Doc], Awaitable[int]]

_AGAIN: Final = 5.0
# while a claim moves the guild is nobody's for a moment
_SURELY: Final = 1.0


class Introducing:
    """Of one connection. ``known``: guild → number of the event that introduced it."""

    def __init__(self, shared: Shared, session: Session, known: dict[str, int], say: Say) -> None:
        self.known = known
        self.is_idle = True
        """Whether the lane has nothing more: a guild is taken back behind its last event."""
        self._shared = shared
        self._session = session
        self._say = say
        self._not_before: dict[str, float] = {}
        self._missing: dict[str, float] = {}
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Follow the claims until it is cancelled."""
        while True:
            if (visible := self._shared.visible(self._session)) is not None:
                for guild in visible:
                    await self._introduce(guild)
                await self._take_back(set(visible))
            await asyncio.sleep(self._shared.pace.looking)

    async def before(self, guild: str, event: str, number: int) -> None:
        """Let the bot know the guild before an event of it, if that does not take too long."""
        if event == "GUILD_CREATE":
            self.known[guild] = number
        # what is left of a guild that was given back tells no more than it says itself
        if guild in self.known or guild not in (self._shared.visible(self._session) or ()):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._shared.pace.introducing):
                await self._introduce(guild)

    async def _introduce(self, guild: str) -> None:
        now = asyncio.get_running_loop().time
        async with self._turn:
            if guild in self.known or self._not_before.get(guild, 0.0) > now():
                return
            if not self._session.intents & visibility.GUILDS:
                self.known[guild] = 0
                return
            found = await self._shared.guilds.introduce(self._session.sandbox, guild)
            if found is None:
                self._not_before[guild] = now() + _AGAIN
                self._shared.counts["unintroduced"] += 1
                return
            # it is available from now on, and not one that the bot joins: many greet everybody then, or set it up anew
            self.known[guild] = await self._say("GUILD_CREATE", {**found, "unavailable": False})

    async def _take_back(self, visible: set[str]) -> None:
        now = asyncio.get_running_loop().time()
        for guild in self.known.keys() - visible:
            since = self._missing.setdefault(guild, now)
            if self.is_idle and now - since >= _SURELY:
                del self._missing[guild], self.known[guild]
                if self._session.intents & visibility.GUILDS:
                    await self._say("GUILD_DELETE", {"id": guild, "unavailable": True})
        for guild in self._missing.keys() & visible:
            del self._missing[guild]
