"""An account of its own on the session's NATS server, with the streams of event routing."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.conftest import Servers

from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing import envelope, streams
from valhalla.sandbox.routing.claims import Claims
from valhalla.sandbox.routing.contracts import STREAM, Claimed, Event, Received, Sizes, Terms, Unread
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.sandbox.routing.lanes import next_message
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.slices.nats_admin import NatsAdmin


@dataclass
class Bus:
    """What the tests of routing share: one cell's account and who may close its connections."""

    url: str
    cell: CellKey
    operator: natsauth.KeyPair
    admin: NatsAdmin
    link: Link
    creds: str
    owners: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    """In the place of Postgres: who owns a route."""

    def claims(self, **more: Any) -> Claims:
        return Claims(self.url, self.creds, self.admin.close_connection, **more)

    @asynccontextmanager
    async def ingress(self, **more: Any) -> AsyncGenerator[Ingress]:
        ingress = Ingress(self.url, self.creds, **more)
        await ingress.start()
        yield ingress
        await ingress.stop()

    async def claim(self, claims: Claims, key: str, sandbox: str, *, kind: str = "tenant", **terms: Any) -> Claimed:
        self.owners[kind, key] = sandbox
        until = datetime.now(UTC) + timedelta(hours=1)
        claimed = await claims.establish(
            kind, key, sandbox, until=until, terms=Terms(**terms), owns=self.owned(kind, key, sandbox)
        )
        assert claimed is not None
        return claimed

    async def release(self, claims: Claims, key: str, sandbox: str, unread: Unread = "drain") -> Claimed | None:
        self.owners.pop(("tenant", key), None)
        return await claims.release("tenant", key, sandbox, unread=unread, owns=self.owned("tenant", key, sandbox))

    def owned(self, kind: str, key: str, sandbox: str) -> Callable[[], Any]:
        async def owns() -> bool:
            return self.owners.get((kind, key)) == sandbox

        return owns

    async def stored(self, wanted: str) -> list[Received]:
        """Return what a filter finds in the stream, in order."""
        found: list[Received] = []
        sequence = 1
        while (message := await next_message(self.link, STREAM, sequence, wanted)) is not None:
            subject, at, block, body = message
            found.append(envelope.read(subject, envelope.read_block(block), body, sequence=at))
            sequence = at + 1
        return found


@asynccontextmanager
async def account(servers: Servers) -> AsyncGenerator[Bus]:
    """An account on the session's server with streams of its own."""
    url = servers.endpoints.nats_url
    assert url is not None
    cell = CellKey.parse(secrets.token_urlsafe(32))
    operator = natsauth.operator_key(servers.cell)
    admin = NatsAdmin(url, operator, natsauth.system_creds(servers.cell), timeout=5)
    public, token = natsauth.control_account(cell, operator)
    await admin.push_account(token)
    creds = natsauth.control_creds(cell)
    link = await Link.open(url, creds, name="tests")
    await streams.ensure(link, Sizes(max_bytes=64 * 2**20))
    yield Bus(url, cell, operator, admin, link, creds)
    await link.close()
    await admin.purge_account(public)
    await admin.delete_accounts([public])
    await admin.close()


@pytest.fixture(scope="session")
async def bus(servers: Servers) -> AsyncGenerator[Bus]:
    """The account that tests share; each has keys of its own."""
    async with account(servers) as made:
        yield made


@pytest.fixture
def key() -> str:
    """A key that no other test has."""
    return f"k{secrets.token_hex(6)}"


def event(key: str, number: int = 0, **more: Any) -> Event:
    """Return an event of a key; the same number is the same event."""
    return Event(
        **({"source": "tenant", "key": key, "type": "t", "data": b"%d" % number, "id": f"{key}-{number}"} | more)
    )
