"""What the sandbox tests work with: a whole control plane in this process, and eyes that see what it left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import nats
import redis.asyncio
import sqlalchemy as sa
from nats.aio.client import RawCredentials
from pydantic import SecretStr
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from tests.conftest import Servers

from valhalla.kernel.clock import Clock
from valhalla.kernel.ids import new_id
from valhalla.kernel.principal import ADMIN, Principal
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.kit.settings import Settings
from valhalla.runtime import Runtime
from valhalla.sandbox import rules
from valhalla.sandbox.contracts import Sandbox, Spec
from valhalla.sandbox.creation import Created
from valhalla.sandbox.slices.postgres import Bootstrap, bootstrap
from valhalla.sandbox.tables import sandboxes

_DEFAULTS: dict[str, Any] = {
    "lease": timedelta(seconds=1),
    "orphan_grace": timedelta(seconds=60),
    # the tests run the reaper themselves
    "reap_interval": timedelta(hours=1),
    # every creation takes every step itself, unless a test asks for a pool
    "pool_size": 0,
}
ADMINISTRATOR = Principal("admin-key", "ops", frozenset({ADMIN}))


class MovableClock(Clock):
    """A clock that a test sets ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


def developer(owner: str) -> Principal:
    """Return the principal of a developer's key."""
    return Principal(f"key-{owner}", owner, frozenset({"sandbox:write"}))


async def compose(servers: Servers, cell: CellKey, folder: Path, *, clock: Clock, name: str, **more: Any) -> Runtime:
    """Return a control plane with its own role, database and cell on shared servers, as on a user's own ones."""
    plan = Bootstrap(name, "secret", name, cell.cell)
    await bootstrap(servers.superuser_url, plan, exclusive=True)
    base = servers.superuser_url.rpartition("@")[2].partition("/")[0]
    valkey_url = servers.endpoints.valkey_url
    assert valkey_url is not None
    settings = Settings(
        data_dir=folder,
        database_url=SecretStr(f"postgresql://{name}:secret@{base}/{name}"),
        valkey_url=SecretStr(valkey_url),
        nats_url=servers.endpoints.nats_url,
        nats_operator_seed=SecretStr(natsauth.operator_key(servers.cell).seed),
        nats_system_creds=SecretStr(natsauth.system_creds(servers.cell)),
        **(_DEFAULTS | more),
    )
    return Runtime(settings, cell, servers.endpoints, clock=clock)


def spec_for(owner: str, runtime: Runtime, **said: Any) -> Spec:
    """Return a checked request."""
    return rules.check_spec(owner=owner, limits=runtime.sandboxes.limits, **({"template": "empty"} | said))


@dataclass
class Team:
    """One owner's view of the control plane."""

    runtime: Runtime
    principal: Principal

    @property
    def owner(self) -> str:
        return self.principal.owner

    async def create(self, *, key: str | None = None, **said: Any) -> Created:
        return await self.runtime.sandboxes.create(self.principal, spec_for(self.owner, self.runtime, **said), key=key)

    async def new(self, **said: Any) -> Sandbox:
        return (await self.create(**said)).sandbox

    async def get(self, reference: str) -> Sandbox:
        return await self.runtime.sandboxes.get(self.principal, reference)

    async def destroy(self, reference: str, *, wait: float = 10) -> Sandbox:
        return await self.runtime.sandboxes.destroy(self.principal, reference, wait=wait)

    async def connection(self, reference: str) -> dict[str, Any]:
        return await self.runtime.sandboxes.connection(self.principal, reference)

    async def all(self) -> list[Sandbox]:
        page = await self.runtime.sandboxes.list(self.principal, include_destroyed=True, limit=200)
        return list(page.items)

    async def live(self) -> list[Sandbox]:
        return list((await self.runtime.sandboxes.list(self.principal, limit=200)).items)

    async def audit(self, reference: str) -> list[Any]:
        page = await self.runtime.sandboxes.audit(self.principal, reference, limit=100, cursor=None)
        return list(reversed(page.items))

    async def actions(self, reference: str) -> list[str]:
        return [entry.action for entry in await self.audit(reference)]


async def remains(runtime: Runtime, sandbox_id: str, valkey_url: str) -> list[str]:
    """Return everything that any backend holds for a sandbox, seen with the administrators' eyes."""
    found = [
        f"{item.slice} {item.kind}" for part in runtime.backends for item in await part.found()
        if item.sandbox_id == sandbox_id
    ]  # fmt: skip
    admin: Any = redis.asyncio.Redis.from_url(valkey_url)
    found += ["valkey key" async for _ in admin.scan_iter(match=f"{{{sandbox_id}}}:*", count=1000)]
    await admin.aclose()
    jwt_dir = runtime.endpoints.nats_jwt_dir
    assert jwt_dir is not None
    account = natsauth.KeyPair.derive(runtime.cell, "account", "sandbox", sandbox_id).public
    for path in jwt_dir.parent.rglob(f"*{account}*"):
        if not (path.suffix == ".jwt" or path.is_dir()) or path.is_dir():
            found.append(f"nats path {path.name}")
    return sorted(found)


WHOLE = ["nats account", "postgres role", "postgres schema", "valkey user"]


@dataclass
class Opened:
    """Live connections to a sandbox's three backends with its own credentials."""

    sql: asyncpg.Connection[asyncpg.Record]
    cache: Any
    bus: Any
    closed: asyncio.Event


async def open_cache(connection: Mapping[str, Any]) -> Any:
    """Connect to a sandbox's Valkey; nothing is repeated, so that a lost connection shows."""
    client: Any = redis.asyncio.Redis.from_url(
        connection["valkey"]["url"], single_connection_client=True, retry=Retry(NoBackoff(), 0)
    )
    try:
        return await client.initialize()
    except BaseException:
        await client.aclose()
        raise


async def open_bus(connection: Mapping[str, Any], *, closed: asyncio.Event | None = None) -> Any:
    """Connect to a sandbox's NATS."""

    async def note() -> None:
        if closed is not None:
            closed.set()

    async def quiet(_error: Exception) -> None:
        return

    return await nats.connect(
        connection["nats"]["url"],
        user_credentials=RawCredentials(connection["nats"]["creds"]),
        inbox_prefix=connection["nats"]["inbox_prefix"].encode(),
        allow_reconnect=False,
        max_reconnect_attempts=1,
        reconnect_time_wait=0,
        connect_timeout=5,
        closed_cb=note,
        disconnected_cb=note,
        error_cb=quiet,
    )


@asynccontextmanager
async def opened(connection: Mapping[str, Any]) -> AsyncGenerator[Opened]:
    """Lend live connections to all three backends."""
    closed = asyncio.Event()
    sql = await asyncpg.connect(connection["postgres"]["url"], timeout=5)
    cache = await open_cache(connection)
    bus = await open_bus(connection, closed=closed)
    try:
        yield Opened(sql, cache, bus, closed)
    finally:
        sql.terminate()
        await cache.aclose()
        await bus.close()


async def work_in(connection: Mapping[str, Any]) -> None:
    """Put a row, a key and a stream with a message into a sandbox and read them back."""
    async with opened(connection) as session:
        await session.sql.execute("CREATE TABLE IF NOT EXISTS orders (id int)")
        await session.sql.execute("INSERT INTO orders VALUES (42)")
        assert await session.sql.fetchval("SELECT id FROM orders") == 42
        key = connection["valkey"]["prefix"] + "order"
        await session.cache.set(key, b"42")
        assert await session.cache.get(key) == b"42"
        stream = session.bus.jetstream(timeout=5)
        subject = connection["nats"]["prefix"] + "orders"
        await stream.add_stream(name="orders", subjects=[subject])
        await stream.publish(subject, b"42")
        message = await stream.get_last_msg("orders", subject)
        assert message.data == b"42"


async def set_row(runtime: Runtime, sandbox_id: str, **values: Any) -> None:
    """Change a row behind the control plane's back."""
    statement = sandboxes.update().where(sandboxes.c.id == sandbox_id).values(**values)
    await runtime.db.run(lambda conn: conn.execute(statement))


async def fetch(runtime: Runtime, statement: str) -> list[Any]:
    """Read from the control plane's database."""
    return await runtime.db.read(lambda conn: list(conn.execute(sa.text(statement)).mappings()))


async def within(seconds: float, check: Callable[[], Awaitable[object]]) -> None:
    """Wait until ``check()`` is true."""
    end = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < end, f"not within {seconds} s"
        await asyncio.sleep(0.02)


def fresh_owner() -> str:
    """Return an owner that no other test has."""
    return f"team-{new_id()}"
