"""The gateway of sandboxes' bots: who is connected, who may identify, and the end of each."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict, defaultdict, deque
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from valhalla.kernel.problems import Unavailable
from valhalla.kit.log import get_logger
from valhalla.sandbox.routing.discord.bots import protocol
from valhalla.sandbox.routing.discord.bots.connection import Connection, Socket
from valhalla.sandbox.routing.discord.bots.protocol import Closing
from valhalla.sandbox.routing.discord.bots.sessions import Session
from valhalla.sandbox.routing.discord.bots.shared import Shared
from valhalla.sandbox.routing.discord.gateway import frames
from valhalla.sandbox.routing.frames import ApiError

_log = get_logger("sandbox.routing.discord")
_DAY: Final = 86_400.0
_REMEMBERED: Final = 10_000
# what is larger is not read to its end before it is refused
_FRAME: Final = 65_536
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")


class Bots:
    """``public`` is where bots find this gateway, such as ``wss://bots.example.com``; empty: where they asked."""

    def __init__(self, shared: Shared, public: str = "") -> None:
        self.shared = shared
        self._public = public.rstrip("/")
        self._connections: set[Connection] = set()
        self._identifies: defaultdict[str, deque[float]] = defaultdict(self._no_identifies)
        self._forgotten: OrderedDict[bytes, None] = OrderedDict()
        self._introduced: OrderedDict[bytes, dict[str, int]] = OrderedDict()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_stopping = False

    def _no_identifies(self) -> deque[float]:
        return deque(maxlen=self.shared.pace.identifies)

    @property
    def connected(self) -> int:
        """How many bots have sessions now."""
        return sum(each.session is not None for each in self._connections)

    async def start(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(self.shared.positions.run()), asyncio.create_task(self._watch())]

    async def stop(self) -> None:
        """Ask bots to resume at the next process, and write down how far each was sent its lane."""
        self._is_stopping = True
        for each in list(self._connections):
            task = asyncio.create_task(each.say(frames.RECONNECT))
            task.add_done_callback(_heard)
        until = asyncio.get_running_loop().time() + self.shared.pace.goodbye
        while self._connections and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110 - a moment at the end
            await asyncio.sleep(0.02)
        for each in list(self._connections):
            each.end(Closing(protocol.UNKNOWN_ERROR, "This gateway ends, resume at the next."))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self.shared.positions.flush()
        except (Unavailable, ApiError) as error:
            _log.warning("how far bots have read is not written down", error=str(error))
        await self.shared.line.close()

    # --- requests

    @staticmethod
    def wants(request: web.BaseRequest) -> bool:
        """Say whether a request opens a connection."""
        upgrades = request.headers.get("upgrade", "").lower() == "websocket"
        return upgrades and request.method == "GET" and request.path in {"", "/"}

    def url(self, host: str) -> str:
        """Return where the gateway is for a bot that asked at ``host``."""
        return self._public or f"ws://{host if _HOST.fullmatch(host) else 'localhost'}"

    def advice(self, sandbox: str, host: str) -> Mapping[str, Any]:
        """Return what ``/gateway/bot`` says."""
        pace, now = self.shared.pace, asyncio.get_running_loop().time()
        spent = [at for at in self._identifies.get(sandbox, ()) if now - at < _DAY]
        return {
            "url": self.url(host),
            "shards": 1,
            "session_start_limit": {
                "total": pace.identifies,
                "remaining": max(pace.identifies - len(spent), 0),
                "reset_after": int((_DAY - (now - spent[0])) * 1000) if spent else 0,
                "max_concurrency": 1,
            },
        }

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one connection until it ends."""
        if self._is_stopping or len(self._connections) >= self.shared.pace.connections:
            return web.Response(status=503, headers={"Retry-After": "1"})
        socket = Socket(timeout=1.0, compress=False, max_msg_size=_FRAME, autoping=True)
        await socket.prepare(request)
        url = self.url(request.headers.get("host", ""))
        connection = Connection(self, socket, request.query, url, request.transport)
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)
        return socket

    # --- what connections ask

    def join(self, connection: Connection, sandbox: str) -> None:
        """Take note whose connection it is.

        Raises:
            Closing: the sandbox has too many.
        """
        if sum(each.sandbox == sandbox for each in self._connections) >= self.shared.pace.each:
            raise Closing(protocol.UNKNOWN_ERROR, "Too many connections of this sandbox.")
        connection.sandbox = sandbox

    def may_identify(self, sandbox: str) -> bool:
        """Say whether a session may begin now, and count it."""
        pace, now = self.shared.pace, asyncio.get_running_loop().time()
        begun = self._identifies[sandbox]
        if begun and now - begun[-1] < pace.identify_every:
            return False
        if len(begun) == begun.maxlen and now - begun[0] < _DAY:
            return False
        begun.append(now)
        return True

    def supersede(self, session: Session) -> None:
        """Close the connection that has a session, if any: its bot has another one now."""
        for each in self._connections:
            if each.session == session:
                each.end(Closing(protocol.UNKNOWN_ERROR, "The session was resumed elsewhere."))

    def forget(self, session: Session) -> None:
        """Resume a session no more."""
        _keep(self._forgotten, session.drawn, None)
        self._introduced.pop(session.drawn, None)

    def is_forgotten(self, session: Session) -> bool:
        """Say whether its bot has said goodbye."""
        return session.drawn in self._forgotten

    def remember(self, session: Session, known: dict[str, int]) -> None:
        """Remember which guilds a session's bot knows; the dictionary goes on changing."""
        _keep(self._introduced, session.drawn, known)

    def introduced(self, session: Session, number: int) -> dict[str, int]:
        """Return the guilds that a bot certainly knows that has seen an event's number."""
        known = self._introduced.get(session.drawn, {})
        return {guild: at for guild, at in known.items() if at < number}

    # --- the end of sandboxes

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.shared.pace.running)
            for sandbox in {each.sandbox for each in self._connections if each.sandbox is not None}:
                try:
                    if await self.shared.is_running(sandbox):
                        continue
                except Unavailable as error:
                    # nobody can say that it has ended
                    _log.warning("nobody knows which sandboxes run", error=error.detail)
                    continue
                self._identifies.pop(sandbox, None)
                for each in list(self._connections):
                    if each.sandbox == sandbox:
                        each.end(Closing(protocol.AUTHENTICATION_FAILED, "The sandbox has ended."))


def _keep(known: OrderedDict[bytes, Any], key: bytes, value: Any) -> None:
    if len(known) >= _REMEMBERED and key not in known:
        known.popitem(last=False)
    known[key] = value


def _heard(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        # who is gone need not be told
        task.exception()
