"""A Discord, what stands before it, and sandboxes with bots, over a real NATS and Postgres."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from pydantic import SecretStr
from tests.sandbox.plane import Team
from yarl import URL

import discord
from valhalla.guard.guard import Guard
from valhalla.guard.stores.postgres import PostgresStore
from valhalla.kernel.clock import Clock
from valhalla.kit import natsauth
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.runtime import Runtime
from valhalla.sandbox.contracts import Sandbox
from valhalla.sandbox.routing.discord.bots.composing import gateway
from valhalla.sandbox.routing.discord.bots.line import Line
from valhalla.sandbox.routing.discord.bots.pace import Pace
from valhalla.sandbox.routing.discord.bots.server import Bots
from valhalla.sandbox.routing.discord.outbound.guarding import GuardedWrites
from valhalla.sandbox.routing.discord.outbound.lock import Lock
from valhalla.sandbox.routing.discord.outbound.pacing import Pacer
from valhalla.sandbox.routing.discord.outbound.running import Running
from valhalla.sandbox.routing.discord.outbound.serving import serve
from valhalla.sandbox.routing.discord.outbound.tokens import bot_token
from valhalla.sandbox.routing.discord.outbound.upstream import Upstream
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.sandbox.routing.table import RouteTable
from valhalla.testing.discord import FakeDiscord


class Scene:
    """A Discord, the lock before it, and sandboxes whose bots ask the lock."""

    def __init__(self, runtime: Runtime, team: Team, fake: FakeDiscord, ingress: Ingress) -> None:
        self.runtime, self.team, self.fake, self.ingress = runtime, team, fake, ingress
        self.port = 0
        self.lock: Lock
        self.bots: Bots
        self.guard: Guard
        self.http: aiohttp.ClientSession

    async def sandbox(self, *guilds: dict[str, Any], mode: str = "steal") -> Sandbox:
        made = await self.team.new()
        for guild in guilds:
            await self.link(made, guild, mode=mode)
        return made

    async def link(self, sandbox: Sandbox, guild: dict[str, Any], **terms: Any) -> None:
        await self.runtime.sandboxes.link(self.team.principal, sandbox.id, "discord.guild", guild["id"], **terms)

    def token(self, sandbox: Sandbox) -> str:
        return bot_token(self.runtime.cell, sandbox.id)

    @asynccontextmanager
    async def bot(self, sandbox: Sandbox) -> AsyncGenerator[discord.Client]:
        client = discord.Client(intents=discord.Intents.none())
        await client.login(self.token(sandbox))
        try:
            yield client
        finally:
            await client.close()

    async def ask(
        self, sandbox: Sandbox | None, method: str, path: str, document: Any = None, **more: Any
    ) -> tuple[int, Any]:
        headers = {} if sandbox is None else {"Authorization": f"Bot {self.token(sandbox)}"}
        headers |= more.pop("headers", {})
        body = more if document is None else {"json": document, **more}
        url = URL(f"http://127.0.0.1:{self.port}/api/v10{path}", encoded=True)
        async with self.http.request(method, url, headers=headers, **body) as answer:
            text = await answer.read()
            return answer.status, json.loads(text) if text else None

    async def raw(self, sent: bytes) -> bytes:
        """Send bytes as they are; return what comes until the other side closes, or is silent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(sent)
        found = b""
        try:
            while part := await asyncio.wait_for(reader.read(65_536), 2 if not found else 0.3):
                found += part
        except (TimeoutError, ConnectionError):
            pass
        writer.close()
        return found

    def sent(self, *methods: str) -> list[tuple[str, str]]:
        """Return what has reached Discord besides what the lock asks for itself."""
        wanted = methods or ("POST", "PUT", "PATCH", "DELETE")
        return [(call.method, call.path) for call in self.fake.calls if call.method in wanted]


def first(guild: dict[str, Any]) -> str:
    """Return the id of a guild's first channel."""
    return str(guild["channels"][0]["id"])


@asynccontextmanager
async def locked(
    runtime: Runtime,
    team: Team,
    fake: FakeDiscord,
    *,
    db: Database | None = None,
    guard_url: str | None = None,
    pace: Pace | None = None,
    production: bool = False,
) -> AsyncGenerator[Scene]:
    url = runtime.settings.nats_url
    assert url is not None
    ingress = Ingress(url, natsauth.control_creds(runtime.cell), name="discord-api")
    guard = Guard(PostgresStore(guard_url or runtime.db.dsn))
    upstream = Upstream(fake.api_url, SecretStr(fake.token))
    used = db or runtime.db
    scene = Scene(runtime, team, fake, ingress)
    scene.guard = guard
    pacer, runs = Pacer(patience=2.0), Running(used, Clock())

    def table() -> RouteTable | None:
        return ingress.table if ingress.is_live else None

    writes = GuardedWrites(guard, used, Ledger(runtime.cell))
    scene.lock = Lock(runtime.cell, upstream, table, runs, writes, pacer=pacer)
    stop = asyncio.Event()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def until(port: int) -> None:
        ready.set_result(port)
        await stop.wait()

    await scene.lock.start()
    await ingress.start()
    line = Line(url, natsauth.control_creds(runtime.cell))
    real = SecretStr(fake.token) if production else None
    scene.bots = gateway(runtime.cell, scene.lock, upstream, pacer, line, table, runs, pace=pace, production=real)
    await scene.bots.start()
    serving = asyncio.create_task(serve(scene.lock, "127.0.0.1", 0, until, scene.bots))
    scene.port = await ready
    try:
        async with aiohttp.ClientSession() as scene.http:
            yield scene
    finally:
        stop.set()
        await serving
        await ingress.stop(patience=0)
        await upstream.close()
        guard.close()


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
