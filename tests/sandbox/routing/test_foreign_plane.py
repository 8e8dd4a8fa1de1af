"""Programs that publish subjects of their own straight to NATS: a claim holds for them when it returns."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import nats
import pytest
from msgspec.structs import replace
from nats.aio.client import RawCredentials
from tests.sandbox.plane import Team

from valhalla.kit import natsauth
from valhalla.runtime import Runtime
from valhalla.sandbox.routing.foreign import accounts
from valhalla.sandbox.routing.foreign.contracts import EventSource
from valhalla.sandbox.routing.foreign.errors import MappingFull, MirrorNeedsRouter, SourceOverlaps
from valhalla.sandbox.routing.foreign.mapper import Mapper


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
        """Publish as ever and return which stream has it: the program's own, or that of what is claimed."""
        ack = await self.client.jetstream().publish(f"{self.source.name}.{key}.{type_}", b"{}")
        return str(ack.stream).removesuffix(f"_{self.source.name}")

    async def lane(self, sandbox: str, count: int) -> list[tuple[str, str, str]]:
        """Return what a lane has as soon as it has so much."""
        async with asyncio.timeout(10):
            while True:
                found = await self.runtime.routing.reader.page(sandbox, after=0, limit=100)
                if len(found) >= count:
                    return [(one.event.source, one.event.key, one.event.type) for one in found]
                await asyncio.sleep(0.02)

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


async def test_a_claim_holds_for_a_publisher_that_knows_nothing(runtime: Runtime, team: Team, shop: Shop) -> None:
    """From link to unlink a key's events are the sandbox's, and its alone; another's stay where they were."""
    box = await team.new()
    found = [await shop.publish("acme")]
    await runtime.sandboxes.link(team.principal, box.id, shop.source.kind, "acme")
    found += [await shop.publish("acme"), await shop.publish("other")]
    await runtime.sandboxes.unlink(team.principal, box.id, shop.source.kind, "acme")
    found.append(await shop.publish("acme"))

    assert found == ["OWN", "VH_CLAIMED", "OWN", "OWN"]
    # what was published before the unlink is on the lane when that returns
    assert len(await runtime.routing.reader.page(box.id, after=0, limit=10)) == 1
    assert await shop.lane(box.id, 1) == [(shop.source.kind, "acme", "created")]
    assert await shop.mappings() == {}


async def test_a_claim_ends_with_its_sandbox(runtime: Runtime, team: Team, shop: Shop) -> None:
    """Production has the key again when the sandbox is gone."""
    box = await team.new(routes=[(shop.source.kind, "acme")])
    assert await shop.publish("acme") == "VH_CLAIMED"
    await team.destroy(box.id)
    assert await shop.publish("acme") == "OWN"


@pytest.mark.slow
async def test_many_claims_at_once_all_hold(runtime: Runtime, team: Team, shop: Shop) -> None:
    """No claim's push takes another's mapping away."""
    box = await team.new()
    keys = [f"k{number}" for number in range(12)]
    links = [runtime.sandboxes.link(team.principal, box.id, shop.source.kind, key) for key in keys]
    await asyncio.gather(*links)
    assert {await shop.publish(key) for key in keys} == {"VH_CLAIMED"}
    await asyncio.gather(
        *(runtime.sandboxes.unlink(team.principal, box.id, shop.source.kind, key) for key in keys[::2])
    )
    assert [await shop.publish(key) for key in keys] == ["OWN", "VH_CLAIMED"] * 6


@pytest.mark.slow
async def test_what_somebody_else_overwrote_is_brought_back(runtime: Runtime, team: Team, shop: Shop) -> None:
    """A restart, or an account that was pushed by hand: the mappings are what the routes say."""
    box = await team.new(routes=[(shop.source.kind, "acme")])
    server = runtime.backends.nats.accounts
    await server.put(accounts.fresh(runtime.cell, shop.source.account))
    assert await shop.publish("acme") == "OWN"
    await runtime.sources.mapper.follow()
    assert await shop.publish("acme") == "VH_CLAIMED"
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


@pytest.mark.slow
async def test_a_source_that_is_turned_off_maps_nothing(runtime: Runtime, team: Team, shop: Shop) -> None:
    """And on again, everything that is claimed."""
    await team.new(routes=[(shop.source.kind, "acme")])
    found: list[str] = []
    for enabled in (False, True):
        await shop.put(
            EventSource(shop.source.name, shop.source.subject, shop.source.kind, shop.source.account, enabled=enabled)
        )
        found.append(await shop.publish("acme"))
    assert found == ["OWN", "VH_CLAIMED"]


@pytest.mark.slow
async def test_a_publisher_writes_its_own_subjects_and_reaches_nothing_else(
    runtime: Runtime, team: Team, shop: Shop
) -> None:
    """By no subject, no reply subject and no stream: routes, heartbeats, production's lane and others' keys stay."""
    box = await team.new(routes=[(shop.source.kind, "acme"), ("tenant", shop.source.name)])
    heard: list[str] = []
    link, _ = await runtime.routing.claims.connected()
    sid = link.subscribe("ev.>", lambda subject, _reply, _block, _body: heard.append(subject))
    client = await shop.connect("publisher")
    whole = await shop.connect()
    mine, own = shop.source.name, f"ev.s.{box.id}.{shop.source.kind}"
    targets = [
        *(
            f"ev.s.{box.id}.tenant.{mine}.t",
            f"ev.p.tenant.{mine}.t",
            f"{own}.acme.t",
            f"ev.p.{shop.source.kind}.acme.t",
        ),
        *(f"rt.tenant.{mine}", f"rt.{shop.source.kind}.acme", "ig.x", f"dl.s.{box.id}.tenant.a.b"),
    ]
    sids = [link.subscribe(target, lambda subject, _r, _bl, _bo: heard.append(subject)) for target in targets[-4:]]
    for target in targets:
        await client.publish(target, b"x")
        await whole.publish(target, b"x")
        for one in (client, whole):
            for subject in (f"{mine}.acme.created", f"{mine}.beta.created", "$JS.API.STREAM.NAMES"):
                await one.publish(subject, b"x", reply=target)
    # a stream of its own over a neighbour's subjects takes what is published in its own account, and nothing else
    await whole.jetstream().add_stream(name="THEIRS", subjects=["ev.>", "rt.>", "ig.>"], storage="memory")
    await asyncio.gather(client.flush(), whole.flush())
    await shop.lane(box.id, 2 * len(targets))
    for each in (sid, *sids):
        link.unsubscribe(each)
    await asyncio.gather(client.close(), whole.close())
    assert {subject for subject in heard if mine in subject or shop.source.kind in subject} == {f"{own}.acme.created"}
    assert not [subject for subject in heard if subject in targets]
    assert len(shop.violations) >= len(targets)


@pytest.mark.slow
async def test_a_new_control_plane_finds_everything_as_it_should_be(runtime: Runtime, team: Team, shop: Shop) -> None:
    """After a restart nothing has to be pushed; what is missing then is."""
    await team.new(routes=[(shop.source.kind, "acme")])
    old = runtime.sources.mapper
    new = Mapper(
        runtime.db, runtime.cell, old._registry, old._server, runtime.routing.claims, runtime.sources.url, old._sizes
    )
    await new.follow()
    assert new.pushed == 0
    assert list(new.mapped[shop.source.account]) == [f"{shop.source.name}.acme.*"]
    await runtime.backends.nats.accounts.put(accounts.fresh(runtime.cell, shop.source.account))
    await new.follow()
    assert (new.pushed, await shop.publish("acme")) == (1, "VH_CLAIMED")


@pytest.mark.slow
async def test_an_account_of_ones_own_keeps_what_it_has(runtime: Runtime, shop: Shop) -> None:
    """Its limits and imports stay, production's events are imported, and what the server does not know is said."""
    account = natsauth.KeyPair.derive(runtime.cell, "account", "theirs", shop.source.name).public
    limits = {**natsauth.UNLIMITED, "conn": 7}
    body = {"limits": limits, "default_permissions": {}, "type": "account", "version": 2}
    theirs = EventSource(f"{shop.source.name}-x", f"{shop.source.name}.x.{{key}}", "payer", account, way="router")
    registry, server = runtime.sources.registry, runtime.backends.nats.accounts
    await runtime.db.run(lambda conn: registry.put(conn, theirs.name, theirs, actor="test"))
    await runtime.sources.settle()
    assert "knows no account" in runtime.sources.mapper.faults[account].detail
    await runtime.db.run(lambda conn: registry.put(conn, theirs.name, replace(theirs, enabled=False), actor="test"))
    await runtime.sources.settle()
    assert account not in runtime.sources.status()["faults"]
    await runtime.db.run(lambda conn: registry.put(conn, theirs.name, theirs, actor="test"))
    await server.put({"sub": account, "name": "SHOP", "nats": body})
    await runtime.sources.mapper.follow()
    claims = await server.find(account)
    assert claims is not None
    assert (claims["name"], claims["nats"]["limits"]["conn"]) == ("SHOP", 7)
    assert [one["subject"] for one in claims["nats"]["imports"]] == ["ev.p.payer.*.*"]
    assert account not in runtime.sources.mapper.faults

    await runtime.db.run(lambda conn: registry.delete(conn, theirs.name, actor="test"))
    await runtime.sources.settle()
    claims = await server.find(account)
    assert claims is not None
    assert "imports" not in claims["nats"]
    assert account not in runtime.sources.mapper._known
    await runtime.backends.nats._admin.delete_accounts([account])
