"""Accounts of publishers that are not ours: a sandbox reaches none of their subjects, streams and replies."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import nats
import pytest
from nats import errors
from nats.aio.client import RawCredentials
from nats.js.errors import Error as StreamError
from tests.conftest import Servers

from valhalla.kernel.ids import new_id
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing.foreign import accounts
from valhalla.sandbox.routing.foreign.contracts import EventSource
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.nats import NatsSlice

# an account of its own
pytestmark = pytest.mark.slow


@dataclass
class Field:
    """A source's account with a stream and a listener on everything, and a sandbox's client beside it."""

    source: EventSource
    names: Names
    sandbox: Any
    listener: Any
    heard: list[str] = field(default_factory=list[str])
    violations: list[str] = field(default_factory=list[str])

    def at(self, text: str) -> str:
        return text.replace("{N}", self.source.name)


@pytest.fixture
async def ground(nats_slice: NatsSlice, servers: Servers, cell: CellKey, tomorrow: datetime) -> AsyncIterator[Field]:
    url = servers.endpoints.nats_url
    assert url is not None
    name = f"a{secrets.token_hex(4)}"
    source = EventSource(name, f"{name}.{{key}}.{{type}}", "tenant", account=name)
    mappings = {f"{name}.acme.*": f"_VHC.{name}.acme.{{{{wildcard(1)}}}}"}
    claims, _ = accounts.amended(accounts.fresh(cell, name), cell, ["tenant"], mappings)
    await nats_slice.accounts.put(claims)
    names = Names.for_sandbox(new_id(), cell=cell.cell, database="none")
    await nats_slice.provision(names, expires_at=tomorrow)

    async def note(error: Exception) -> None:
        made.violations.append(str(error))

    async def hear(message: Any) -> None:
        made.heard.append(message.subject)

    creds = accounts.credentials(cell, source, "account")
    listener = await nats.connect(url, user_credentials=RawCredentials(creds))
    await listener.jetstream().add_stream(name="OWN", subjects=[f"{name}.>", "_VHC.>"], storage="memory")
    connection = nats_slice.connection(names, expires_at=tomorrow)
    sandbox = await nats.connect(
        url,
        user_credentials=RawCredentials(connection["creds"]),
        inbox_prefix=names.inbox_prefix.encode(),
        allow_reconnect=False,
        error_cb=note,
    )
    made = Field(source, names, sandbox, listener)
    await listener.subscribe(">", cb=hear)
    await listener.flush()
    yield made
    await asyncio.gather(sandbox.close(), listener.close())
    await nats_slice.cut(names)
    await nats_slice.drop(names)
    await nats_slice._drop(accounts.key_of(cell, name))


async def reached(ground: Field) -> list[str]:
    """Return what came into the source's account, and its streams, but what the listener asked for itself."""
    # what was sent before is there when this is
    await ground.listener.publish("test.mark", b"")
    await ground.listener.flush()
    async with asyncio.timeout(5):
        while "test.mark" not in ground.heard:
            await asyncio.sleep(0.01)
    state = (await ground.listener.jetstream().stream_info("OWN")).state
    assert state.messages == 0
    return [one for one in ground.heard if not one.startswith(("$JS.", "_INBOX.", "test.mark"))]


SUBJECTS = [
    "{N}.acme.created",
    "{N}.other.created",
    "_VHC.{N}.acme.created",
    "_VH.3.acme.created",
    "ev.p.tenant.acme.t",
]


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_their_subjects_are_refused(ground: Field, subject: str) -> None:
    """The server says no, whether the key is mapped or not."""
    await ground.sandbox.publish(ground.at(subject), b"x")
    await ground.sandbox.flush()
    async with asyncio.timeout(5):
        while not ground.violations:
            await asyncio.sleep(0.01)
    assert "permissions violation" in ground.violations[0].lower()
    assert await reached(ground) == []


@pytest.mark.parametrize("target", SUBJECTS)
async def test_a_reply_subject_ends_in_the_sandbox(ground: Field, target: str) -> None:
    """What the server answers to an allowed request goes nowhere but into the sandbox's own account."""
    for allowed in ("$JS.API.INFO", "$JS.API.STREAM.NAMES", f"{ground.names.subject_prefix}x"):
        await ground.sandbox.publish(allowed, b"", reply=ground.at(target))
    await ground.sandbox.flush()
    await asyncio.sleep(0.1)
    assert await reached(ground) == []


async def test_a_stream_over_their_subjects_captures_nothing(ground: Field) -> None:
    """A stream, a source of theirs and a mirror: each is of the sandbox's own account, where nothing of them is."""
    stream = ground.sandbox.jetstream()
    wanted: list[dict[str, Any]] = [
        {"name": "MINE", "subjects": [ground.at("{N}.>"), "_VHC.>"]},
        {"name": "SOURCED", "sources": [nats.js.api.StreamSource(name="OWN")]},
        {"name": "MIRROR", "mirror": nats.js.api.StreamSource(name="OWN")},
    ]
    for config in wanted:
        with contextlib.suppress(StreamError, errors.Error):
            await stream.add_stream(**config, storage="memory", max_bytes=2**20)
    subject = ground.at("{N}.acme.created")
    await ground.listener.jetstream().publish(subject, b"secret")
    await ground.listener.jetstream().publish(ground.at("{N}.other.created"), b"secret")
    await asyncio.sleep(0.2)
    for config in wanted:
        with contextlib.suppress(StreamError, errors.Error):
            assert (await stream.stream_info(config["name"])).state.messages == 0
    assert (await ground.listener.jetstream().stream_info("OWN")).state.messages == 2
