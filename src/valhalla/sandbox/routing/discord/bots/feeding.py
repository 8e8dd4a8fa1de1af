"""What one session of a bot is sent: READY or what it missed, its guilds, and its lane in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from valhalla.sandbox.routing import envelope, subjects
from valhalla.sandbox.routing.discord.bots import protocol, visibility
from valhalla.sandbox.routing.discord.bots.guilds import Doc, write
from valhalla.sandbox.routing.discord.bots.introducing import Introducing
from valhalla.sandbox.routing.discord.bots.lane import Lane
from valhalla.sandbox.routing.discord.bots.sessions import PRODUCTION, Session
from valhalla.sandbox.routing.discord.bots.shared import Shared
from valhalla.sandbox.routing.discord.outbound.copies import copied
from valhalla.sandbox.routing.errors import EventInvalid
from valhalla.sandbox.routing.pulling import Message

Send = Callable[[bytes], Awaitable[None]]

# an interaction's token is good for so long: behind it nobody can answer any more
_ANSWERABLE: Final = timedelta(minutes=15)


class Feed:
    """Of one connection. ``send`` returns when the connection has taken a frame; ``lane`` has not begun yet."""

    def __init__(self, shared: Shared, session: Session, lane: Lane, send: Send, known: dict[str, int]) -> None:
        """``known`` are the guilds that the bot knows, by the number of the event that said so."""
        self._shared = shared
        self._session = session
        self._lane = lane
        self._send = send
        self._position = lane.position
        self._behind = 0
        self._greeted = asyncio.Event()
        self._guilds = Introducing(shared, session, known, self.say)

    @property
    def number(self) -> int:
        """The number of the last event that was sent, or passed over."""
        return self._session.number(self._position)

    async def say(self, event: str, data: Doc) -> int:
        """Send an event that is not of the lane; returns its number, which is that of the one before."""
        number = self.number
        await self._send(protocol.event(event, number, write(data)))
        return number

    async def open(self) -> int:
        """Begin to read, and return how many events are waiting.

        Raises:
            Unavailable: NATS does not answer.
        """
        self._behind = await self._lane.open()
        return self._behind

    async def run(self, ready: Doc | None) -> None:
        """Send until it is cancelled; ``ready`` is what READY says, None: the session is resumed."""
        if ready is not None:
            await self.say("READY", ready)
        elif not self._behind:
            await self.say("RESUMED", {"_trace": ["valhalla"]})
        resuming = ready is None and self._behind > 0
        self._guilds.is_idle = not self._behind
        self._greeted.set()
        while True:
            for message in await self._lane.take():
                await self._pass(message)
                self._guilds.is_idle = message.pending == 0
                self._behind -= 1
                if resuming and (self._behind <= 0 or message.pending == 0):
                    resuming = False
                    await self.say("RESUMED", {"_trace": ["valhalla"]})
            # what has come already is sent without waiting: other bots have their turn
            await asyncio.sleep(0)

    async def follow(self) -> None:
        """Follow the sandbox's claims until it is cancelled."""
        await self._greeted.wait()
        await self._guilds.run()

    async def close(self) -> None:
        """End the reading."""
        await self._lane.close()

    async def _pass(self, message: Message) -> None:
        try:
            place = subjects.parse(message.subject)
        except EventInvalid:
            # what somebody else put into the tree
            place = None
        if place is not None and self._session.sees(place.key):
            await self._event(message, place.key, place.type)
        self._position = message.sequence
        self._shared.positions.note(self._session, message.sequence)

    async def _event(self, message: Message, guild: str, event: str) -> None:
        shared, session = self._shared, self._session
        data: bytes | None = message.body
        if event == "INTERACTION_CREATE":
            if datetime.now(UTC) - message.stored_at > _ANSWERABLE:
                shared.counts["late"] += 1
                return
            if envelope.MIRROR in envelope.read_block(message.block):
                data = copied(shared.cell, session.sandbox, message.body)
        if data is not None:
            direct = not guild.isdigit()
            data = visibility.seen(event, data, session.intents, shared.me, direct=direct)
        if data is None:
            return
        if session.sandbox == PRODUCTION and event in {"GUILD_CREATE", "GUILD_DELETE"}:
            shared.guilds.note(event, message.body)
        await self._guilds.before(guild, event, session.number(message.sequence))
        await self._send(protocol.event(event, session.number(message.sequence), data))
        shared.counts["events"] += 1
