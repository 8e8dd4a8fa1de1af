"""Lanes of live events: a sandbox reads its own under production's names, and reaches nothing else by it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import nats
import pytest
from nats import errors
from nats.aio.client import RawCredentials
from tests.conftest import Servers

from valhalla.kernel.ids import new_id
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing import streams
from valhalla.sandbox.routing.contracts import STREAM, Sizes
from valhalla.sandbox.routing.lanes import close_lane, open_lane
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.nats import NatsSlice
from valhalla.sandbox.slices.nats_rules import lane_imports

# an account and streams of its own
pytestmark = pytest.mark.slow
BOTH = "ab"


@dataclass
class Lanes:
    """A and B with a lane each, the control plane that fills them, and what it hears in its own account."""

    slice: NatsSlice
    link: Link
    names: dict[str, Names]
    creds: dict[str, str]
    url: str
    heard: list[str] = field(default_factory=list[str])
    violations: list[str] = field(default_factory=list[str])

    async def connect(self, who: str) -> Any:
        async def note(error: Exception) -> None:
            self.violations.append(str(error))

        names = self.names[who]
        return await nats.connect(
            self.url,
            user_credentials=RawCredentials(self.creds[who]),
            inbox_prefix=names.inbox_prefix.encode(),
            allow_reconnect=False,
            error_cb=note,
        )

    def at(self, text: str) -> str:
        return text.replace("{A}", self.names["a"].id).replace("{B}", self.names["b"].id)

    async def fill(self, text: str, body: bytes = b"secret") -> None:
        await self.link.store(self.at(text), body)


@pytest.fixture(scope="module")
def cell() -> CellKey:
    """Another cell's than the servers': its control plane's account and streams are this test's alone."""
    return CellKey(secrets.token_bytes(32))


@pytest.fixture(scope="module")
async def lanes(servers: Servers, cell: CellKey, tomorrow: datetime) -> AsyncIterator[Lanes]:
    """The control plane's account is made anew, as on a server that did not know it."""
    url = servers.endpoints.nats_url
    assert url is not None
    nats_slice = NatsSlice(
        url,
        cell,
        operator=natsauth.operator_key(servers.cell),
        system_creds=natsauth.system_creds(servers.cell),
        jwt_dir=servers.endpoints.nats_jwt_dir,
    )
    await nats_slice.push_control_account()
    link = await Link.open(url, natsauth.control_creds(cell), name="lanes")
    await streams.ensure(link, Sizes(max_bytes=8 * 2**20))
    names = {who: Names.for_sandbox(new_id(), cell=cell.cell, database="none") for who in BOTH}
    made = Lanes(nats_slice, link, names, {}, url)
    for who in BOTH:
        await nats_slice.provision(names[who], expires_at=tomorrow)
        made.creds[who] = nats_slice.connection(names[who], expires_at=tomorrow)["creds"]
        await open_lane(link, names[who].id)
    link.subscribe(">", lambda subject, _reply, _block, _body: made.heard.append(subject))
    yield made
    for who in BOTH:
        await close_lane(link, names[who].id)
        await nats_slice.cut(names[who])
        await nats_slice.drop(names[who])
    await link.close()
    control = natsauth.control_key(cell).public
    await nats_slice._admin.purge_account(control)
    await nats_slice._admin.delete_accounts([control])
    await nats_slice.close()


async def test_productions_code_hears_its_lane(lanes: Lanes) -> None:
    """A subscription to production's subjects gets the sandbox's own events, neither production's nor a neighbour's."""
    client = await lanes.connect("a")
    subscription = await client.subscribe("ev.p.discord.*.M")
    await client.flush()
    # interest across accounts is known a moment later
    await asyncio.sleep(0.1)
    for place in ("ev.p.discord.1.M", "ev.s.{B}.discord.1.M", "ev.s.{A}.discord.1.M"):
        await lanes.fill(place, place.encode())
    message = await subscription.next_msg(timeout=5)
    assert (message.subject, message.data) == ("ev.p.discord.1.M", b"ev.s.{A}.discord.1.M")
    with pytest.raises(errors.TimeoutError):
        await subscription.next_msg(timeout=0.2)
    await client.close()


async def test_a_lane_is_pulled_and_acknowledged(lanes: Lanes) -> None:
    """An ordinary JetStream client reads the lane at least once, through a prefix of its own."""
    await lanes.fill("ev.s.{A}.discord.2.M")
    client = await lanes.connect("a")
    stream = client.jetstream(prefix="ev.api")
    reader = await stream.pull_subscribe_bind(f"s-{lanes.names['a'].id}", stream=STREAM)
    seen: list[str] = []
    while lanes.at("ev.s.{A}.discord.2.M") not in seen:
        for message in await reader.fetch(10, timeout=5):
            seen.append(message.subject)
            await message.ack_sync(timeout=5)
    info = await lanes.link.api(f"CONSUMER.INFO.{STREAM}.s-{lanes.names['a'].id}")
    assert info["num_ack_pending"] == 0
    await client.close()


REFUSED = [
    ("ev.p.discord.1.M", ""),
    ("ev.s.{A}.discord.1.M", ""),
    ("ev.s.{B}.discord.1.M", ""),
    ("rt.discord.1", ""),
    ("ig.ingress", ""),
    ("dl.s.{A}.1", ""),
    ("ev.api.CONSUMER.MSG.NEXT.VH_EV.s-{B}", "1"),
    ("ev.api.CONSUMER.INFO.VH_EV.s-{B}", ""),
    ("ev.api.CONSUMER.CREATE.VH_EV.mine", "{}"),
    ("ev.api.STREAM.PURGE.VH_EV", ""),
]


@pytest.mark.parametrize(("subject", "body"), REFUSED, ids=[subject for subject, _ in REFUSED])
async def test_refused_by_the_server(lanes: Lanes, subject: str, body: str) -> None:
    """The trees of routing are nobody's to publish into, and another's lane nobody's to ask for."""
    client = await lanes.connect("a")
    lanes.violations.clear()
    lanes.heard.clear()
    await client.publish(lanes.at(subject), body.encode())
    await client.flush()
    async with asyncio.timeout(5):
        while not lanes.violations:
            await asyncio.sleep(0.01)
    assert "permissions violation" in lanes.violations[0].lower()
    await lanes.link.request("$JS.API.INFO")
    assert [one for one in lanes.heard if not one.startswith(("$JS.", "_INBOX."))] == []
    await client.close()


TARGETS = ["ev.p.discord.3.M", "ev.s.{B}.discord.3.M", "rt.discord.3", "ig.ingress", "sbx.{B}.orders", "_INBOX_{B}.x"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("verb", ["MSG.NEXT", "INFO"])
async def test_a_reply_subject_leads_nowhere(lanes: Lanes, verb: str, target: str) -> None:
    """The answer to an allowed request goes where it asks in the sandbox's own account, and nowhere else."""
    neighbour, client = await lanes.connect("b"), await lanes.connect("a")
    subscriptions = [await neighbour.subscribe(f"{lanes.names['b'].subject_prefix}>")]
    await neighbour.flush()
    await lanes.fill("ev.s.{A}.discord.9.M")
    await lanes.link.request("$JS.API.INFO")
    lanes.heard.clear()
    await client.publish(lanes.at(f"ev.api.CONSUMER.{verb}.VH_EV.s-{{A}}"), b"1", reply=lanes.at(target))
    await client.flush()
    await asyncio.sleep(0.05)
    await lanes.link.request("$JS.API.INFO")
    reached = [one for one in lanes.heard if not one.startswith(("$JS.", "_INBOX.", "_R_."))]
    assert reached == []
    for subscription in subscriptions:
        with pytest.raises(errors.TimeoutError):
            await subscription.next_msg(timeout=0.02)
    await neighbour.close()
    await client.close()


async def test_a_stream_of_ones_own_captures_ones_own_lane_only(lanes: Lanes) -> None:
    """A sandbox may record what it hears; nothing of production's or of a neighbour's is in it."""
    client = await lanes.connect("a")
    stream = client.jetstream()
    await stream.add_stream(name="recording", subjects=["ev.p.>"])
    await asyncio.sleep(0.1)
    for place in ("ev.p.discord.4.M", "ev.s.{B}.discord.4.M", "ev.s.{A}.discord.4.M"):
        await lanes.fill(place, place.encode())
    async with asyncio.timeout(5):
        while (await stream.stream_info("recording")).state.messages < 1:
            await asyncio.sleep(0.01)
    assert (await stream.get_last_msg("recording", "ev.p.discord.4.M")).data == b"ev.s.{A}.discord.4.M"
    assert (await stream.stream_info("recording")).state.messages == 1
    await stream.delete_stream("recording")
    await client.close()


async def test_leave_for_another_is_no_leave(lanes: Lanes, cell: CellKey, tomorrow: datetime) -> None:
    """An account that imports B's lane with the leave that A was given hears nothing of it."""
    thief = Names.for_sandbox(new_id(), cell=cell.cell, database="none")
    await lanes.slice.provision(thief, expires_at=tomorrow)
    account = lanes.slice.account(thief).public
    stolen = lane_imports(lanes.names["b"], account, natsauth.control_key(cell))
    for one in stolen:
        # the leave that B's own account has
        one["token"] = natsauth.activation_jwt(
            natsauth.control_key(cell),
            lanes.slice.account(lanes.names["b"]).public,
            one["subject"],
            one["type"],  # type: ignore[arg-type]
        )
    token = natsauth.account_jwt(
        lanes.slice._operator, account, name=thief.nats_account, limits=natsauth.UNLIMITED, imports=stolen
    )
    with contextlib.suppress(Exception):
        await lanes.slice._admin.push_account(token)
    user = natsauth.KeyPair.derive(cell, "user", "thief")
    creds = natsauth.creds_file(natsauth.user_jwt(lanes.slice.account(thief), user.public, name="thief"), user)
    client = await nats.connect(lanes.url, user_credentials=RawCredentials(creds), allow_reconnect=False)
    subscription = await client.subscribe("ev.p.>")
    await client.flush()
    await asyncio.sleep(0.1)
    await lanes.fill("ev.s.{B}.discord.5.M")
    with pytest.raises(errors.TimeoutError):
        await subscription.next_msg(timeout=0.3)
    with pytest.raises(errors.Error):
        await client.request(lanes.at("ev.api.CONSUMER.INFO.VH_EV.s-{B}"), b"", timeout=0.3)
    await client.close()
    await lanes.slice.cut(thief)
    await lanes.slice.drop(thief)


async def test_a_consumers_name_is_its_sandboxs(lanes: Lanes) -> None:
    """What the consumer of one lane delivers is that lane alone."""
    info = await lanes.link.api(f"CONSUMER.INFO.{STREAM}.s-{lanes.names['a'].id}")
    assert json.dumps(info["config"]["filter_subject"]) == json.dumps(lanes.at("ev.s.{A}.>"))
