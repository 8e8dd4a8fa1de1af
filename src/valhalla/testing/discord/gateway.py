"""The gateway: one connection after another speaks its protocol here, version 10, JSON, optionally zlib-stream."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from valhalla.testing.discord import intents
from valhalla.testing.discord.documents import Doc
from valhalla.testing.discord.session import Session, Sessions
from valhalla.testing.discord.world import World

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

UNKNOWN_ERROR: Final = 4000
UNKNOWN_OPCODE, DECODE_ERROR, NOT_AUTHENTICATED, AUTHENTICATION_FAILED, ALREADY_AUTHENTICATED = range(4001, 4006)
INVALID_SEQ, RATE_LIMITED, SESSION_TIMED_OUT, INVALID_SHARD, SHARDING_REQUIRED = range(4007, 4012)
INVALID_VERSION, INVALID_INTENTS, DISALLOWED_INTENTS = range(4012, 4015)


class Closing(Exception):  # noqa: N818 - it ends a connection as the protocol says
    """Close the connection with this code."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Gateway:
    """What all connections share, and the switches of whoever tests."""

    def __init__(self, world: World, token: str) -> None:
        self.world = world
        self.token = token
        self.sessions = Sessions(lambda: world.me["id"])
        self.connections: list[Connection] = []
        self.heartbeat_interval = 41.25
        """Seconds, as HELLO says; a connection that is silent for twice as long is closed (4009)."""
        self.acknowledges = True
        """Whether heartbeats are answered; without, a client must take the connection for dead."""
        self.shards = 1
        """How many ``/gateway/bot`` recommends."""
        self.max_concurrency = 1
        self.identify_every = 0.0
        """Seconds between IDENTIFYs of one concurrency bucket; a second one in this time is an invalid session."""
        self.required_shards = 0
        """Fewer than these are refused (4011)."""
        self.allowed_intents = intents.ALL
        self.identifies: list[tuple[float, int]] = []
        """When which shard identified."""
        self.resumes = 0
        self.heartbeats = 0
        self.changed = asyncio.Event()
        self._buckets: dict[int, float] = {}

    def too_early(self, shard: int, at: float) -> bool:
        """Say whether the shard identifies before its concurrency bucket may, and note that it did."""
        self.identifies.append((at, shard))
        bucket = shard % self.max_concurrency
        early = at < self._buckets.get(bucket, 0.0)
        if not early:
            self._buckets[bucket] = at + self.identify_every
        return early

    def of_shard(self, shard: int | None) -> list[Connection]:
        """Return the identified connections of a shard, or of all."""
        return [each for each in self.connections if each.session and shard in (None, each.session.shard[0])]

    async def serve(self, scope: Scope, receive: Receive, send: Send, resume_url: str) -> None:
        """Serve one connection until it ends."""
        await receive()
        await send({"type": "websocket.accept"})
        connection = Connection(self, scope, send, resume_url)
        self.connections.append(connection)
        sender = asyncio.create_task(connection.pump())
        try:
            await connection.talk(receive)
        finally:
            self.connections.remove(connection)
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            self.changed.set()


class Connection:
    """One WebSocket."""

    def __init__(self, gateway: Gateway, scope: Scope, send: Send, resume_url: str) -> None:
        self.gateway = gateway
        self.peer: Any = scope.get("client")
        self.query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        self.session: Session | None = None
        self._resume_url = resume_url
        self._send = send
        self._out: asyncio.Queue[bytes | Closing] = asyncio.Queue()
        self._deflate = zlib.compressobj() if self.query.get("compress") == "zlib-stream" else None

    def write(self, frame: bytes) -> None:
        """Send a frame, after those before it."""
        self._out.put_nowait(frame)

    def say(self, op: int, data: Any = None) -> None:
        """Send an operation that is no event."""
        self.write(msgspec.json.encode({"t": None, "s": None, "op": op, "d": data}))

    def close(self, code: int, reason: str = "") -> None:
        """Close with a code, after what is to be sent before."""
        self._out.put_nowait(Closing(code, reason))

    async def pump(self) -> None:
        """Send what is queued."""
        while True:
            item = await self._out.get()
            if isinstance(item, Closing):
                await self._send({"type": "websocket.close", "code": item.code, "reason": item.reason})
                return
            if self._deflate is not None:
                packed = self._deflate.compress(item) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
                await self._send({"type": "websocket.send", "bytes": packed})
            else:
                await self._send({"type": "websocket.send", "text": item.decode()})

    async def talk(self, receive: Receive) -> None:
        """Answer until the other side goes or breaks the protocol."""
        self.say(10, {"heartbeat_interval": int(self.gateway.heartbeat_interval * 1000), "_trace": ["fake"]})
        try:
            if self.query.get("v", "10") not in {"9", "10"}:
                raise Closing(INVALID_VERSION, "You sent an invalid version for the gateway.")
            while True:
                async with asyncio.timeout(self.gateway.heartbeat_interval * 2):
                    message = await receive()
                if message["type"] == "websocket.disconnect":
                    self._left(message.get("code") or 1006)
                    return
                self._take(message)
        except Closing as closing:
            self.close(closing.code, closing.reason)
        except TimeoutError:
            self.close(SESSION_TIMED_OUT, "Session timed out.")
        self._detach()
        while (await receive())["type"] != "websocket.disconnect":
            pass

    def _left(self, code: int) -> None:
        session = self.session
        self._detach()
        # a client that says goodbye has no session any more; one that vanishes may come back
        if session is not None and code in {1000, 1001}:
            self.gateway.sessions.end(session)

    def _detach(self) -> None:
        if self.session is not None and self.session.wire is self:
            self.session.wire = None

    def _take(self, message: Doc) -> None:
        raw: str | bytes = message.get("text") or message.get("bytes") or b""
        try:
            frame = msgspec.json.decode(raw)
            op, data = int(frame["op"]), frame.get("d")
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError):
            raise Closing(DECODE_ERROR, "Error while decoding payload.") from None
        gateway = self.gateway
        if op == 1:
            gateway.heartbeats += 1
            if gateway.acknowledges:
                self.say(11)
        elif op == 2:
            self._identify(data)
        elif op == 6:
            self._resume(data)
        elif self.session is None:
            raise Closing(NOT_AUTHENTICATED, "Not authenticated.")
        elif op == 8:
            self._members(self.session, data)
        elif op not in {3, 4, 31}:
            raise Closing(UNKNOWN_OPCODE, "Unknown opcode.")
        gateway.changed.set()

    def _identify(self, data: Doc) -> None:
        gateway, world = self.gateway, self.gateway.world
        if self.session is not None:
            raise Closing(ALREADY_AUTHENTICATED, "Already authenticated.")
        self._check_token(data)
        number, of = data.get("shard") or (0, 1)
        if not 0 <= number < of:
            raise Closing(INVALID_SHARD, "Invalid shard.")
        if of < gateway.required_shards:
            raise Closing(SHARDING_REQUIRED, "Sharding required.")
        wanted = data.get("intents")
        if not isinstance(wanted, int) or wanted & ~intents.ALL:
            raise Closing(INVALID_INTENTS, "Invalid intent(s).")
        if wanted & ~gateway.allowed_intents:
            raise Closing(DISALLOWED_INTENTS, "Disallowed intent(s).")
        if gateway.too_early(number, asyncio.get_running_loop().time()):
            self.say(9, data=False)
            return
        session = self.session = gateway.sessions.open((number, of), wanted)
        session.wire = self
        mine = [guild for guild_id, guild in world.guilds.items() if session.sees(guild_id)]
        session.dispatch(
            "READY",
            {
                "v": 10,
                "user": world.me,
                "guilds": [{"id": guild["id"], "unavailable": True} for guild in mine],
                "session_id": session.id,
                "session_type": "normal",
                "resume_gateway_url": self._resume_url,
                "shard": [number, of],
                "application": {"id": world.application_id, "flags": 0},
                "private_channels": [],
            },
        )
        for guild in mine:
            if wanted & 1:
                session.dispatch("GUILD_CREATE", guild)

    def _resume(self, data: Doc) -> None:
        gateway = self.gateway
        if self.session is not None:
            raise Closing(ALREADY_AUTHENTICATED, "Already authenticated.")
        self._check_token(data)
        session = gateway.sessions.find(str(data.get("session_id")))
        sequence = data.get("seq")
        if session is not None and (not isinstance(sequence, int) or sequence > session.sequence):
            raise Closing(INVALID_SEQ, "Invalid seq.")
        missed = None if session is None else session.missed(int(sequence or 0))
        if session is None or missed is None:
            self.say(9, data=False)
            return
        self.session, session.wire = session, self
        session.resumed += 1
        gateway.resumes += 1
        for frame in missed:
            self.write(frame)
        session.dispatch("RESUMED", {"_trace": ["fake"]})

    def _check_token(self, data: Any) -> None:
        if not isinstance(data, dict):
            raise Closing(DECODE_ERROR, "Error while decoding payload.")
        said = str(data.get("token"))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        if said.removeprefix("Bot ") != self.gateway.token:
            raise Closing(AUTHENTICATION_FAILED, "Authentication failed.")

    def _members(self, session: Session, data: Doc) -> None:
        guild = self.gateway.world.guilds.get(str(data.get("guild_id")))
        if guild is None:
            return
        ids: list[Any] = data.get("user_ids") or []
        wanted = {str(each) for each in ids}
        found = [each for each in guild["members"] if not wanted or each["user"]["id"] in wanted]
        chunk = {"guild_id": guild["id"], "members": found, "chunk_index": 0, "chunk_count": 1, "presences": []}
        session.dispatch("GUILD_MEMBERS_CHUNK", {**chunk, "nonce": data.get("nonce")})
