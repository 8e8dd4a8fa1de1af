"""Programs that publish subjects of their own straight to NATS: a claim holds for them when it returns."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import nats
import pytest
from nats.aio.client import RawCredentials
from tests.sandbox.plane import Team

from valhalla.runtime import Runtime
from valhalla.sandbox.routing.foreign import accounts
from valhalla.sandbox.routing.foreign.contracts import EventSource
from valhalla.sandbox.routing.foreign.errors import MappingFull, MirrorNeedsRouter, SourceOverlaps


@dataclass
class Shop:
    """A program with an account of its own, a stream over its subjects, and no idea of sandboxes."""

    runtime: Runtime
    source: EventSource
    client: Any = None
    violations: list[str] = field(default_factory=list[str])

    async def put(self, source: EventSource) -> None:
        self.source = source
        registry = self.runtime.sources.registry
        await self.runtime.db.run(lambda conn: registry.put(conn, source.name, source, actor="test"))
        await self.runtime.sources.settle()

    async def connect(self, role: accounts.Role = "account") -> Any:
        async def note(error: Exception) -> None:
            self.violations.append(str(error))

        creds = accounts.credentials(self.runtime.cell, self.source, role)
        return await nats.connect(self.runtime.sources.url, user_credentials=RawCredentials(creds), error_cb=note)

    async def publish(self, key: str, type_: str = "created") -> str:
        """Publish as ever and return which stream has it."""
        ack = await self.client.jetstream().publish(f"{self.source.name}.{key}.{type_}", b"{}")
        return str(ack.stream)

    async def mappings(self) -> dict[str, Any]:
        public = accounts.key_of(self.runtime.cell, self.source.account)
        claims = await self.runtime.backends.nats.accounts.find(public)
        assert claims is not None
        return dict(claims["nats"].get("mappings") or {})


@pytest.fixture
async def shop(runtime: Runtime) -> AsyncGenerator[Shop]:
    name = f"s{secrets.token_hex(4)}"
    made = Shop(runtime, EventSource(name, f"{name}.{{key}}.{{type}}", name, account=name))
    await made.put(made.source)
    made.client = await made.connect()
    await made.client.jetstream().add_stream(name="OWN", subjects=[f"{name}.>"], storage="memory")
    yield made
    await made.client.close()
    registry = runtime.sources.registry
    await runtime.db.run(lambda conn: registry.delete(conn, name, actor="test"))
    await runtime.sources.settle()
    public = accounts.key_of(runtime.cell, name)
    await runtime.backends.nats._admin.purge_account(public)
    await runtime.backends.nats._admin.delete_accounts([public])
    runtime.sources.mapper._known.discard(name)


async def test_a_claim_holds_for_a_publisher_that_knows_nothing(runtime: Runtime, team: Team, shop: Shop) -> None:
    """From link to unlink a key's events are the sandbox's, and its alone; another's stay where they were."""
    box = await team.new()
    found = [await shop.publish("acme")]
    await runtime.sandboxes.link(team.principal, box.id, shop.source.kind, "acme")
    found += [await shop.publish("acme"), await shop.publish("other")]
    await runtime.sandboxes.unlink(team.principal, box.id, shop.source.kind, "acme")
    found.append(await shop.publish("acme"))

    assert found == ["OWN", "VH_EV", "OWN", "OWN"]
    lane = await runtime.routing.reader.page(box.id, after=0, limit=10)
    assert [(one.event.source, one.event.key, one.event.type) for one in lane] == [
        (shop.source.kind, "acme", "created")
    ]
    assert await shop.mappings() == {}


async def test_a_claim_ends_with_its_sandbox(runtime: Runtime, team: Team, shop: Shop) -> None:
    """Production has the key again when the sandbox is gone."""
    box = await team.new(routes=[(shop.source.kind, "acme")])
    assert await shop.publish("acme") == "VH_EV"
    await team.destroy(box.id)
    assert await shop.publish("acme") == "OWN"


async def test_many_claims_at_once_all_hold(runtime: Runtime, team: Team, shop: Shop) -> None:
    """No claim's push takes another's mapping away."""
    box = await team.new()
    keys = [f"k{number}" for number in range(12)]
    links = [runtime.sandboxes.link(team.principal, box.id, shop.source.kind, key) for key in keys]
    await asyncio.gather(*links)
    assert {await shop.publish(key) for key in keys} == {"VH_EV"}
    await asyncio.gather(
        *(runtime.sandboxes.unlink(team.principal, box.id, shop.source.kind, key) for key in keys[::2])
    )
    assert [await shop.publish(key) for key in keys] == ["OWN", "VH_EV"] * 6


async def test_what_somebody_else_overwrote_is_brought_back(runtime: Runtime, team: Team, shop: Shop) -> None:
    """A restart, or an account that was pushed by hand: the mappings are what the routes say."""
    box = await team.new(routes=[(shop.source.kind, "acme")])
    server = runtime.backends.nats.accounts
    await server.put(accounts.fresh(runtime.cell, shop.source.account))
    assert await shop.publish("acme") == "OWN"
    await runtime.sources.mapper.follow()
    assert await shop.publish("acme") == "VH_EV"
    assert len(await shop.mappings()) == 1
    await team.destroy(box.id)


async def test_what_cannot_be_mapped_is_refused_and_leaves_no_route(
    runtime: Runtime, team: Team, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror, one key too many, a key that a mapping of the account's own covers."""
    box, kind = await team.new(), shop.source.kind
    monkeypatch.setattr("valhalla.sandbox.routing.foreign.mapper.MAPPED", 1)
    with pytest.raises(MirrorNeedsRouter):
        await runtime.sandboxes.link(team.principal, box.id, kind, "acme", mode="mirror")
    await runtime.sandboxes.link(team.principal, box.id, kind, "acme")
    with pytest.raises(MappingFull):
        await runtime.sandboxes.link(team.principal, box.id, kind, "beta")
    await runtime.sandboxes.unlink(team.principal, box.id, kind, "acme")

    present = await runtime.backends.nats.accounts.find(accounts.key_of(runtime.cell, shop.source.account))
    assert present is not None
    own = {f"{shop.source.name}.*.deleted": [{"subject": "trash.{{wildcard(1)}}", "weight": 100}]}
    await runtime.backends.nats.accounts.put({**present, "nats": {**present["nats"], "mappings": own}})
    with pytest.raises(SourceOverlaps):
        await runtime.sandboxes.link(team.principal, box.id, kind, "acme")
    assert list(await shop.mappings()) == list(own)
    assert (await runtime.sandboxes.get(team.principal, box.id)).routes == ()
    assert await shop.publish("acme") == "OWN"


async def test_a_source_that_is_turned_off_maps_nothing(runtime: Runtime, team: Team, shop: Shop) -> None:
    """And on again, everything that is claimed."""
    await team.new(routes=[(shop.source.kind, "acme")])
    found: list[str] = []
    for enabled in (False, True):
        await shop.put(
            EventSource(shop.source.name, shop.source.subject, shop.source.kind, shop.source.account, enabled=enabled)
        )
        found.append(await shop.publish("acme"))
    assert found == ["OWN", "VH_EV"]


async def test_a_publisher_writes_its_own_subjects_and_reaches_nothing_else(
    runtime: Runtime, team: Team, shop: Shop
) -> None:
    """By no subject, no reply subject and no stream: routes, heartbeats, production's lane and others' keys stay."""
    box = await team.new(routes=[(shop.source.kind, "acme"), ("tenant", shop.source.name)])
    heard: list[str] = []
    link, _ = await runtime.routing.claims.connected()
    sid = link.subscribe(">", lambda subject, _reply, _block, _body: heard.append(subject))
    client = await shop.connect("publisher")
    whole = await shop.connect()
    victim, tenant = f"ev.s.{box.id}.tenant.{shop.source.name}.t", f"ev.p.tenant.{shop.source.name}.t"
    targets = [
        victim,
        tenant,
        f"rt.tenant.{shop.source.name}",
        "ig.x",
        f"dl.s.{box.id}.tenant.a.b",
        f"rt.{shop.source.kind}.acme",
    ]
    for target in targets:
        await client.publish(target, b"x")
        await whole.publish(target, b"x")
        for one in (client, whole):
            await one.publish(f"{shop.source.name}.acme.created", b"x", reply=target)
            await one.publish(f"{shop.source.name}.beta.created", b"x", reply=target)
            await one.publish("$JS.API.STREAM.NAMES", b"", reply=target)
    await asyncio.gather(client.flush(), whole.flush())
    await asyncio.sleep(0.3)
    link.unsubscribe(sid)
    await asyncio.gather(client.close(), whole.close())
    own = [subject for subject in heard if f".{shop.source.kind}." in subject or shop.source.name in subject]
    assert {subject for subject in own if not subject.startswith("_R_")} == {
        f"ev.s.{box.id}.{shop.source.kind}.acme.created"
    }
    assert not [subject for subject in heard if subject in targets]
    assert len(shop.violations) >= len(targets)
