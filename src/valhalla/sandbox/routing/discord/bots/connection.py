"""One WebSocket of a bot: what it says is answered here, what it is sent comes from its feed."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSMsgType, web

from valhalla.kernel.problems import Unavailable
from valhalla.kit.log import get_logger
from valhalla.sandbox.routing.discord.bots import protocol, sessions, visibility
from valhalla.sandbox.routing.discord.bots.feeding import Feed
from valhalla.sandbox.routing.discord.bots.guilds import write
from valhalla.sandbox.routing.discord.bots.lane import Lane, oldest
from valhalla.sandbox.routing.discord.bots.protocol import Closing, Members
from valhalla.sandbox.routing.discord.bots.sessions import PRODUCTION, Session
from valhalla.sandbox.routing.discord.gateway import frames
from valhalla.sandbox.routing.discord.gateway.frames import Frame

if TYPE_CHECKING:
    from valhalla.sandbox.routing.discord.bots.server import Bots

_log = get_logger("sandbox.routing.discord")
_MINUTE: Final = 60.0
_CLOSE: Final = 2.0
_GONE: Final = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR})
_SILENT: Final = (ConnectionError, RuntimeError)
"""What sending raises when the other side is not there any more."""


class Socket(web.WebSocketResponse):
    """Says of what is too large what Discord says."""

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> bool:
        """Close it."""
        return await super().close(code=protocol.DECODE_ERROR if code == 1009 else code, message=message, drain=drain)


class Connection:
    """``url`` is where this gateway is, as the bot sees it; ``query`` is that of its request."""

    def __init__(
        self, bots: Bots, socket: Socket, query: Mapping[str, str], url: str, transport: asyncio.Transport | None
    ) -> None:
        self.session: Session | None = None
        self.sandbox: str | None = None
        self._bots = bots
        self._shared = bots.shared
        self._socket = socket
        self._query = query
        self._url = url
        self._transport = transport
        self._deflate = zlib.compressobj() if query.get("compress") == "zlib-stream" else None
        self._sending = asyncio.Lock()
        self._ended: asyncio.Future[Closing] = asyncio.get_running_loop().create_future()
        self._frames: deque[float] = deque(maxlen=self._shared.pace.frames)
        self._feed: Feed | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._asked: asyncio.Queue[Members] = asyncio.Queue(self._shared.pace.frames)

    def end(self, closing: Closing) -> None:
        """Close it with a code."""
        if not self._ended.done():
            self._ended.set_result(closing)

    async def say(self, op: int, data: Any = None) -> None:
        """Send an operation."""
        await self._send(protocol.say(op, data))

    async def serve(self) -> None:
        """Serve until it ends."""
        hearing = self._start(self._hear())
        try:
            await asyncio.wait({hearing, self._ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._feed is not None:
                await self._feed.close()
            await self._close()

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(self._guarded(work))
        self._tasks.append(task)
        return task

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except Closing as closing:
            self.end(closing)
        except _SILENT:
            self.end(Closing(protocol.UNKNOWN_ERROR, "The connection is lost."))
        except Unavailable as error:
            _log.warning("a bot's connection was given up", reason=error.detail)
            self.end(Closing(protocol.UNKNOWN_ERROR, "Unavailable, try again."))
        except Exception as error:  # noqa: BLE001 - the bot comes back, the others stay
            _log.exception("a bot's connection failed")
            self.end(Closing(protocol.UNKNOWN_ERROR, type(error).__name__))

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE):
                if self._ended.done():
                    closing = self._ended.result()
                    await self._socket.close(code=closing.code, message=closing.reason.encode()[:120])
                else:
                    await self._socket.close()
        except (TimeoutError, *_SILENT):
            pass
        finally:
            if self._transport is not None and self._socket.close_code in (None, 1006):
                # who reads nothing does not get what is left either
                self._transport.abort()

    # --- what is sent

    async def _send(self, frame: bytes) -> None:
        """Send a frame; waits while the bot does not read."""
        async with self._sending:
            if self._deflate is None:
                await self._socket.send_str(frame.decode())
            else:
                packed = self._deflate.compress(frame) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
                await self._socket.send_bytes(packed)

    # --- what is heard

    async def _hear(self) -> None:
        pace, now = self._shared.pace, asyncio.get_running_loop().time
        began = beaten = now()
        await self.say(frames.HELLO, {"heartbeat_interval": int(pace.heartbeat * 1000), "_trace": ["valhalla"]})
        self._check_query()
        try:
            async with asyncio.timeout(None) as deadline:
                while True:
                    until = beaten + pace.heartbeat * 1.5
                    deadline.reschedule(until if self.session else min(until, began + pace.identify_within))
                    message = await self._socket.receive()
                    if message.type in _GONE:
                        self._left()
                        return
                    self._count(now())
                    frame = protocol.read(message.data)
                    if frame.op == frames.HEARTBEAT:
                        await self.say(frames.ACKNOWLEDGED)
                        beaten = now()
                    else:
                        await self._take(frame)
        except TimeoutError:
            raise Closing(protocol.SESSION_TIMED_OUT, "Session timed out.") from None

    def _check_query(self) -> None:
        if self._query.get("v", "10") not in {"9", "10"}:
            raise Closing(protocol.INVALID_VERSION, "You sent an invalid version for the gateway.")
        if self._query.get("encoding", "json") != "json":
            raise Closing(protocol.DECODE_ERROR, "Only JSON is spoken here.")

    def _count(self, now: float) -> None:
        full = len(self._frames) == self._frames.maxlen
        if full and now - self._frames[0] < _MINUTE:
            raise Closing(protocol.RATE_LIMITED, "You are being rate limited.")
        self._frames.append(now)

    def _left(self) -> None:
        # a bot that says goodbye has no session any more; one that vanishes may come back
        if self.session is not None and self._socket.close_code in {1000, 1001}:
            self._bots.forget(self.session)

    async def _take(self, frame: Frame) -> None:
        if frame.op == frames.IDENTIFY:
            await self._identify(frame)
        elif frame.op == frames.RESUME:
            await self._resume(frame)
        elif self.session is None:
            raise Closing(protocol.NOT_AUTHENTICATED, "Not authenticated.")
        elif frame.op == protocol.MEMBERS:
            self._ask(protocol.members(frame))
        elif frame.op not in protocol.IGNORED:
            raise Closing(protocol.UNKNOWN_OPCODE, "Unknown opcode.")

    async def _admit(self, token: str) -> str:
        if self.session is not None:
            raise Closing(protocol.ALREADY_AUTHENTICATED, "Already authenticated.")
        sandbox = self._shared.owner(token.removeprefix("Bot "))
        if sandbox is None or not await self._shared.is_running(sandbox):
            raise Closing(protocol.AUTHENTICATION_FAILED, "Authentication failed.")
        self._bots.join(self, sandbox)
        if sandbox == PRODUCTION:
            await self._shared.guilds.refresh()
        return sandbox

    async def _identify(self, frame: Frame) -> None:
        said = protocol.identify(frame)
        sandbox = await self._admit(said.token)
        if said.intents < 0 or said.intents & ~visibility.ALL:
            raise Closing(protocol.INVALID_INTENTS, "Invalid intent(s).")
        if visibility.disallowed(said.intents, int(self._shared.application.get("flags") or 0)):
            raise Closing(protocol.DISALLOWED_INTENTS, "Disallowed intent(s).")
        if not self._bots.may_identify(sandbox):
            await self._refuse()
            return
        shard, shards = said.shard
        base = await self._shared.positions.beginning(sandbox, shard, shards)
        session = Session(sandbox, shard, shards, said.intents, base)
        guilds = self._shared.visible(session)
        if guilds is None:
            raise Closing(protocol.UNKNOWN_ERROR, "The routes are not known at the moment.")
        ready = {
            "v": 10,
            "user": self._shared.bot,
            "guilds": [{"id": guild, "unavailable": True} for guild in guilds],
            "session_id": sessions.write(self._shared.cell, session),
            "session_type": "normal",
            "resume_gateway_url": self._url,
            "shard": [shard, shards],
            "application": {"id": self._shared.application["id"], "flags": self._shared.application.get("flags", 0)},
            "private_channels": [],
        }
        feed = self._feeding(session, base, {})
        await feed.open()
        self._begin(session, feed, ready)
        self._shared.counts["identifies"] += 1

    async def _resume(self, frame: Frame) -> None:
        said = protocol.resume(frame)
        sandbox = await self._admit(said.token)
        session = sessions.read(self._shared.cell, sandbox, said.session_id or "")
        if session is None or said.seq is None or self._bots.is_forgotten(session):
            await self._refuse()
            return
        position = session.position(said.seq)
        if said.seq < 0 or position > await self._shared.positions.newest():
            raise Closing(protocol.INVALID_SEQ, "Invalid seq.")
        feed = self._feeding(session, position, self._bots.introduced(session, said.seq))
        kept = await oldest(self._shared.line) <= position + 1
        if not kept or await feed.open() > self._shared.pace.kept:
            await feed.close()
            await self._refuse()
            return
        self._begin(session, feed, None)
        self._shared.counts["resumes"] += 1

    def _feeding(self, session: Session, position: int, known: dict[str, int]) -> Feed:
        lane = Lane(self._shared.line, session.lane, position, batch=self._shared.pace.batch)
        self._bots.remember(session, known)
        self._feed = Feed(self._shared, session, lane, self._send, known)
        return self._feed

    def _begin(self, session: Session, feed: Feed, ready: dict[str, Any] | None) -> None:
        self._bots.supersede(session)
        self.session = session
        self._start(feed.run(ready))
        self._start(feed.follow())
        self._start(self._tell_members())

    async def _refuse(self) -> None:
        self._shared.counts["invalid"] += 1
        await self.say(frames.INVALID_SESSION, data=False)

    # --- members

    def _ask(self, wanted: Members) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._asked.put_nowait(wanted)

    async def _tell_members(self) -> None:
        while True:
            wanted = await self._asked.get()
            session, feed = self.session, self._feed
            assert session is not None
            assert feed is not None
            visible = set(self._shared.visible(session) or ())
            for guild in protocol.ids(wanted.guild_id):
                if guild in visible:
                    async for chunk in self._shared.guilds.members(session.sandbox, guild, wanted):
                        await self._send(protocol.event("GUILD_MEMBERS_CHUNK", feed.number, write(chunk)))
