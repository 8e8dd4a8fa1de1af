"""One shard: a connection after the other, one session as long as the gateway remembers it.

Nothing is lost while the gateway keeps what was missed: an event counts as taken when it was handed to the ingress, and
as stored when the stream has it. When the ingress can take no more, the connection is closed so that it can be resumed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Final, Literal, NoReturn

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from valhalla.kit.waiting import Backoff
from valhalla.sandbox.routing.discord.gateway import frames
from valhalla.sandbox.routing.discord.gateway.closing import GOODBYE, LEAVING, Ending, of_code
from valhalla.sandbox.routing.discord.gateway.conversation import Conversation, Identity, Over, Session
from valhalla.sandbox.routing.discord.gateway.frames import DISPATCH, Frame
from valhalla.sandbox.routing.discord.gateway.intake import Counts, Intake
from valhalla.sandbox.routing.discord.gateway.keeping import Shelf
from valhalla.sandbox.routing.discord.gateway.pace import Pace
from valhalla.sandbox.routing.discord.gateway.socket import UNREACHABLE, closed_with, open_socket
from valhalla.sandbox.routing.discord.gateway.turns import Turns
from valhalla.sandbox.routing.ingress import Ingress

State = Literal["waiting", "held", "connecting", "identifying", "resuming", "live", "stopped"]

# so many events are handed over between two looks at whether the ingress has room
_BATCH: Final = 64
_OURS: Final = frozenset({"READY", "RESUMED"})


class Shard:
    """Reads one shard; ``changed`` is called whenever ``state`` is another."""

    def __init__(
        self,
        identity: Identity,
        url: str,
        ingress: Ingress,
        turns: Turns,
        shelf: Shelf | None,
        changed: Callable[[Shard], None],
        pace: Pace,
    ) -> None:
        self.identity = identity
        self.state: State = "waiting"
        self.why = ""
        self.intake = Intake(ingress, pace.room)
        self.session: Session | None = shelf.load() if shelf is not None else None
        if self.session is not None:
            self.intake.begin(self.session)
        self._url = url
        self._turns = turns
        self._shelf = shelf
        self._changed = changed
        self._pace = pace
        self._unreached = 0
        self._talk: Conversation | None = None
        self._zombie: Ending | None = None
        self._socket: ClientConnection | None = None

    @property
    def number(self) -> int:
        """Which shard it is."""
        return self.identity.shard

    @property
    def counts(self) -> Counts:
        """What it has seen."""
        return self.intake.counts

    @property
    def latency(self) -> float | None:
        """Seconds from the last heartbeat to its acknowledgement."""
        heart = None if self._talk is None else self._talk.heart
        return None if heart is None else heart.latency

    async def run(self) -> None:
        """Read until it is cancelled.

        Raises:
            Problem: Discord refuses for ever.
        """
        pace = self._pace
        again, anew = Backoff(pace.base, pace.again), Backoff(pace.base, pace.anew)
        now = asyncio.get_running_loop().time
        while True:
            if not self.intake.is_open:
                self._say("held", "the ingress cannot publish now")
            await self.intake.open()
            began = now()
            ending = await self._connect()
            if not ending.resumes:
                self._forget()
            if now() - began > pace.good:
                again.reset()
                anew.reset()
            self._say("waiting", ending.why)
            await asyncio.sleep(max((again if ending.resumes else anew).next(), ending.pause))

    def keep(self) -> None:
        """Write down which session this is and what is stored of it."""
        if self._shelf is not None and self.session is not None:
            self._shelf.save(self.session, self.intake.marks.stored)

    async def leave(self) -> None:
        """Close the connection, after ``run`` was cancelled; a session that is kept can be resumed then."""
        await self._drop(GOODBYE if self._shelf is None else LEAVING)
        self._say("stopped")

    def close(self) -> None:
        """Write down the last and let other processes have the shard."""
        self.keep()
        if self._shelf is not None:
            self._shelf.close()

    def _forget(self) -> None:
        self.session = None
        if self._shelf is not None:
            self._shelf.forget()

    def _say(self, state: State, why: str = "") -> None:
        self.state, self.why = state, why
        self._changed(self)

    async def _drop(self, code: int) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            with contextlib.suppress(ConnectionClosed, *UNREACHABLE):
                await socket.close(code)

    # --- one connection

    async def _connect(self) -> Ending:
        session = self.session
        identified = _nothing if session is not None else await self._turns.begin(self.number)
        try:
            self._say("connecting")
            # where the session was may be gone; the front door takes it, too
            url = session.url if session is not None and self._unreached < self._pace.patient else self._url
            try:
                self._socket = await open_socket(url)
            except UNREACHABLE as error:
                self._unreached += 1
                return Ending(resumes=True, why=f"{url} cannot be reached: {error or type(error).__name__}")
            ending = await self._converse(self._socket, Conversation(self.identity, session), identified)
        finally:
            identified()
        await self._drop(LEAVING)
        return ending

    async def _converse(self, socket: ClientConnection, talk: Conversation, identified: Callable[[], None]) -> Ending:
        self.counts.connections += 1
        self._talk, self._zombie = talk, None
        beating: asyncio.Task[None] | None = None
        now = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(self._pace.silence) as deadline:
                while talk.state != "live":
                    await self._hear(frames.frame(await socket.recv(decode=False)), socket, talk)
                    deadline.reschedule(now() + self._pace.silence)
                    if beating is None and talk.heart is not None:
                        identified()
                        beating = asyncio.create_task(self._beat(socket, talk))
                deadline.reschedule(None)
                await self._read(socket, talk)
        except Over as over:
            return over.ending
        except TimeoutError:
            self._unreached += 1
            return Ending(resumes=True, why="the gateway said nothing")
        except msgspec.DecodeError as error:
            return Ending(resumes=True, why=f"the gateway sent what is no frame: {error}")
        except ConnectionClosed as error:
            return self._zombie or of_code(*closed_with(error))
        finally:
            self._talk = None
            if beating is not None:
                beating.cancel()

    async def _read(self, socket: ClientConnection, talk: Conversation) -> NoReturn:
        session, take = talk.session, self.intake.take
        assert session is not None
        while True:
            for _ in range(_BATCH):
                frame = frames.frame(await socket.recv(decode=False))
                if frame.op == DISPATCH and frame.t not in _OURS:
                    take(frame, session)
                else:
                    await self._hear(frame, socket, talk)
            await self.intake.room()
            # what has come already is read without waiting: other shards and the ingress's heartbeat have their turn
            await asyncio.sleep(0)

    async def _hear(self, frame: Frame, socket: ClientConnection, talk: Conversation) -> None:
        if frame.op == DISPATCH and frame.t not in _OURS:
            if talk.session is not None:
                self.intake.take(frame, talk.session)
            return
        before = talk.state
        # the part of the first pause and the time of coming back are to differ between clients, no more
        answer = talk.take(frame, asyncio.get_running_loop().time(), random.random())  # noqa: S311
        if answer is not None:
            await socket.send(answer)
        if talk.state != before:
            self._moved(talk)

    def _moved(self, talk: Conversation) -> None:
        assert talk.state != "hello"
        if talk.state == "identifying":
            self.counts.identifies += 1
        elif talk.state == "live":
            self._unreached = 0
            assert talk.session is not None
            if talk.session is self.session:
                self.counts.resumes += 1
                self.intake.marks.skip(talk.session.sequence)
            else:
                self.session = talk.session
                self.intake.begin(talk.session)
            self.keep()
        self._say(talk.state)

    async def _beat(self, socket: ClientConnection, talk: Conversation) -> None:
        heart, now = talk.heart, asyncio.get_running_loop().time
        assert heart is not None
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(heart.due - now())
                # what we do not read because the ingress is full may be the acknowledgement
                if not heart.is_heard and not self.intake.is_waiting:
                    self.counts.zombies += 1
                    self._zombie = Ending(resumes=True, why="heartbeats were not acknowledged")
                    await socket.close(LEAVING)
                    return
                await socket.send(talk.beat(now()))


def _nothing() -> None:
    pass
