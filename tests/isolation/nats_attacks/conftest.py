"""A NATS server of its own on which A attacks, and B, which must not notice.

B is watched by a client of B's own account without any permission limits, on ``>``: whatever reaches B's account is
heard. After each attack it has heard nothing, and B's stream, bucket and pending deliveries are what they were.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import pytest
from tests.isolation.conftest import NatsProcess
from tests.isolation.nats_attacks.field import Field

from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.kit.natsauth import KeyPair
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.nats import NatsSlice


@pytest.fixture(scope="session")
def server(cell: CellKey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsProcess]:
    """A server of its own: a control plane on the shared one is heard, too."""
    process = NatsProcess(tmp_path_factory.mktemp("nats"), cell).start()
    yield process
    process.stop()


@pytest.fixture(scope="session")
async def nats_slice(server: NatsProcess, cell: CellKey) -> AsyncIterator[NatsSlice]:
    """The NATS slice on it."""
    part = NatsSlice(server.url, cell, jwt_dir=server.folder / "jwt")
    await part.push_control_account()
    yield part
    await part.close()


@pytest.fixture(scope="module")
async def stage(
    nats_slice: NatsSlice, server: NatsProcess, attacker: Names, victim: Names, tomorrow: datetime, cell: CellKey
) -> AsyncIterator[Field]:
    """A and B are live; B has a stream with a half-worked consumer, a bucket, and a watcher on everything."""
    url = server.url
    for names in (attacker, victim):
        await nats_slice.provision(names, expires_at=tomorrow)
    user = KeyPair.derive(cell, "user", "test.watch")
    token = natsauth.user_jwt(nats_slice.account(victim), user.public, name="watch")
    creds = nats_slice.connection(attacker, expires_at=tomorrow)["creds"]
    made = Field(nats_slice, url, cell, attacker, victim, creds, None, None, None)
    watcher = natsauth.creds_file(token, user)
    made.b_watch, made.b_state = await made.connect(watcher), await made.connect(watcher)
    made.control = await made.connect(natsauth.control_creds(cell))
    standing, made.opened = made.opened, []

    async def hear(message: Any) -> None:
        made.heard.append(message.subject)

    stream = made.b_state.jetstream()
    await stream.add_stream(name="orders", subjects=[f"sbx.{victim.id}.orders.>"])
    for number in range(5):
        await stream.publish(f"sbx.{victim.id}.orders.new", f"secret {number}".encode())
    worker = await stream.pull_subscribe(f"sbx.{victim.id}.orders.>", "worker")
    first, *_ = await worker.fetch(2)
    await first.ack()
    bucket = await stream.create_key_value(bucket="settings")
    await bucket.put("mode", b"safe")
    await made.b_watch.subscribe(">", cb=hear)
    await made.control.subscribe(">", cb=hear)
    for client in (made.b_watch, made.control):
        await client.flush()
    yield made
    for client in standing:
        await client.close()
    for names in (attacker, victim):
        await nats_slice.cut(names)
        await nats_slice.drop(names)


@pytest.fixture
async def calm(stage: Field) -> AsyncIterator[Field]:
    """The stage; afterwards nothing has reached B or the control plane, and B is as it was."""
    before = await stage.state()
    await settled(stage)
    stage.problems.clear()
    yield stage
    for client in (stage.b_watch, stage.control):
        await client.flush()
    await asyncio.sleep(0.01)
    heard = list(stage.heard)
    for client in stage.opened:
        await client.close()
    stage.opened.clear()
    await remove_streams(stage)
    assert heard == []
    assert await stage.state() == before


async def settled(stage: Field) -> None:
    """Wait until nothing of what came before is heard any more: JetStream tells of requests when it has time."""
    while True:
        stage.heard.clear()
        await stage.b_watch.flush()
        await asyncio.sleep(0.02)
        await stage.b_watch.flush()
        if not stage.heard:
            return


async def remove_streams(stage: Field) -> None:
    """Give A an empty account again."""
    client = await stage.connect()
    for info in await client.jetstream().streams_info():
        await client.jetstream().delete_stream(info.config.name)
    await client.close()
    stage.opened.clear()
