"""Hands the events of one shard's session to the ingress, each once and in order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from valhalla.kernel.problems import Unavailable
from valhalla.kit.log import get_logger
from valhalla.sandbox.routing.contracts import Event
from valhalla.sandbox.routing.discord.gateway import frames
from valhalla.sandbox.routing.discord.gateway.closing import Ending
from valhalla.sandbox.routing.discord.gateway.conversation import Over, Session
from valhalla.sandbox.routing.discord.gateway.frames import NOBODY, Frame
from valhalla.sandbox.routing.discord.gateway.marks import Marks
from valhalla.sandbox.routing.errors import EventInvalid
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.sandbox.routing.subjects import DISCORD

_log = get_logger("sandbox.routing.discord")


@dataclass(slots=True)
class Counts:
    """What a shard has seen since it was started."""

    events: int = 0
    replayed: int = 0
    """Events that were sent again although they had been taken."""
    gaps: int = 0
    """Numbers that never came."""
    refused: int = 0
    """Events that cannot be routed: larger than an event may be."""
    unkeyed: int = 0
    """Events of neither a guild nor a user."""
    connections: int = 0
    identifies: int = 0
    resumes: int = 0
    zombies: int = 0
    held: int = 0
    """How often a connection was given up because the ingress had no room."""


class Intake:
    """What one shard has taken. ``patience`` in seconds is how long the ingress may have no room."""

    def __init__(self, ingress: Ingress, patience: float) -> None:
        self.counts = Counts()
        self.marks = Marks("", 0)
        self.is_waiting = False
        """Whether nothing is read because the ingress has no room."""
        self._ingress = ingress
        self._outgoing = ingress.outgoing
        self._patience = patience

    def begin(self, session: Session) -> None:
        """Count the events of another session."""
        self.marks = Marks(session.id, session.sequence)

    def take(self, frame: Frame, session: Session) -> None:
        """Hand one event over.

        Raises:
            Over: the ingress takes nothing; the event is not taken, and a resumed session sends it again.
        """
        number, event = frame.s, frame.t
        if number is None or event is None:
            return
        counts = self.counts
        if number <= session.sequence:
            counts.replayed += 1
            return
        key = frames.key_of(event, frame.d)
        mark = self.marks.mark(number)
        try:
            self._outgoing.post(Event(DISCORD, key, event, bytes(frame.d), f"{session.id}:{number}"), mark)
        except EventInvalid as error:
            self._refuse(event, error)
            mark.set_exception(error)
        except Unavailable as error:
            self.marks.withdraw()
            counts.held += 1
            raise Over(Ending(resumes=True, why=error.detail)) from error
        counts.gaps += number - session.sequence - 1
        counts.unkeyed += key is NOBODY
        counts.events += 1
        session.sequence = number

    async def room(self) -> None:
        """Wait until the ingress takes more.

        Raises:
            Over: it does not, for too long.
        """
        self.is_waiting = True
        try:
            async with asyncio.timeout(self._patience):
                await self._outgoing.room()
        except TimeoutError:
            self.counts.held += 1
            raise Over(Ending(resumes=True, why="the ingress cannot publish, and no more events are kept")) from None
        finally:
            self.is_waiting = False

    @property
    def is_open(self) -> bool:
        """Whether the ingress may publish."""
        return self._ingress.is_live

    async def open(self) -> None:
        """Wait until the ingress may publish and has room."""
        while not self._ingress.is_live:  # noqa: ASYNC110 - it has no event for it
            await asyncio.sleep(0.05)
        await self._outgoing.room()

    def _refuse(self, event: str, error: EventInvalid) -> None:
        self.counts.refused += 1
        _log.warning("an event cannot be routed", event_type=event, reason=error.detail)
