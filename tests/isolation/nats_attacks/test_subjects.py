"""The subjects that sandbox A may neither hear nor write on the shared NATS server."""

from __future__ import annotations

import pytest
from tests.isolation.conftest import eventually
from tests.isolation.nats_attacks.field import Field

from valhalla.kernel.ids import new_id
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.nats_rules import may_publish, may_subscribe


@pytest.mark.parametrize(
    "subject",
    [
        "sbx.{B}.>",
        "sbx.{B}.orders.new",
        "sbx.{B}",
        ">",
        "*",
        "*.>",
        "*.*.>",
        "sbx.>",
        "sbx.*",
        "sbx.*.x",
        "sbx.*.>",
        "sbx.{A}*.>",
        "*.{A}.x",
        "*.{B}.x",
        "_INBOX.>",
        "_INBOX.*",
        "_INBOX_{B}.>",
        "_INBOX_*.>",
        "_R_.>",
        "$SYS.>",
        "$SYS.ACCOUNT.*.CONNECT",
        "$SYS.ACCOUNT.{accountB}.>",
        "$SYS.REQ.>",
        "$SYS.REQ.CLAIMS.UPDATE",
        "$JS.>",
        "$JS.API.>",
        "$JS.API.CONSUMER.MSG.NEXT.*.*",
        "$JS.EVENT.>",
        "$JS.EVENT.ADVISORY.>",
        "$JS.ACK.>",
        "$SRV.>",
        "$SRV.PING",
        "ev.>",
        "ev.s.{B}.>",
        "rt.>",
        "rtc.>",
        "rtack.>",
        "dl.>",
        "loose",
    ],
)
@pytest.mark.parametrize("queue", ["", "workers"])
async def test_subscribe_refused(calm: Field, subject: str, queue: str) -> None:
    """The server answers a subscription outside the sandbox's subjects with a permissions violation."""
    client = await calm.connect()
    await client.subscribe(calm.fill(subject), queue=queue)
    await client.flush()
    await eventually(lambda: calm.problems, within=1)

    assert "permissions violation for subscription" in calm.problems[0].lower()


@pytest.mark.parametrize(
    "subject",
    [
        "sbx.{B}.orders.new",
        "sbx.{B}.x",
        "sbx.{B}",
        "sbx.x",
        "_INBOX.x",
        "_INBOX_{B}.x",
        "_R_.x",
        "$SYS.REQ.CLAIMS.UPDATE",
        "$SYS.REQ.CLAIMS.LIST",
        "$SYS.REQ.CLAIMS.DELETE",
        "$SYS.REQ.CLAIMS.PACK",
        "$SYS.REQ.ACCOUNT.{accountB}.CLAIMS.UPDATE",
        "$SYS.REQ.ACCOUNT.{accountB}.CLAIMS.LOOKUP",
        "$SYS.REQ.ACCOUNT.{accountB}.CONNZ",
        "$SYS.REQ.ACCOUNT.PING.CONNZ",
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.SERVER.PING.CONNZ",
        "$SYS.REQ.SERVER.x.KICK",
        "$SYS.REQ.SERVER.x.RELOAD",
        "$SYS.REQ.USER.INFO",
        "$SYS.DEBUG.SUBSCRIBERS",
        "$SYS.ACCOUNT.{accountB}.DISCONNECT",
        "$JS.EVENT.ADVISORY.x",
        "$JS.other.API.INFO",
        "$SRV.PING",
        "ev.p.discord.1.M",
        "ev.s.{B}.discord.1.M",
        "rt.discord.1",
        "rtack.1.x",
        "dl.x",
        "loose",
    ],
)
async def test_publish_refused(calm: Field, subject: str) -> None:
    """The server answers a message outside the sandbox's subjects with a permissions violation."""
    client = await calm.connect()
    await client.publish(calm.fill(subject), b"x")
    await client.flush()
    await eventually(lambda: calm.problems, within=1)

    assert "permissions violation for publish" in calm.problems[0].lower()


def test_permissions_name_the_sandbox(cell: CellKey) -> None:
    """No pattern spans sandboxes: each is the sandbox's own or an API that the account confines."""
    names = Names.for_sandbox(new_id(), cell=cell.cell, database="none")
    for subject in {*may_publish(names), *may_subscribe(names)}:
        assert names.id in subject or subject in {"$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>", "$O.>", "ev.p.>"}
