"""What B keeps and sends is out of the reach of sandbox A: A neither asks for it, copies it nor overhears it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from nats import errors
from nats.js.errors import Error as JetStreamError
from tests.isolation.conftest import eventually
from tests.isolation.nats_attacks.field import Field, run_quietly

from valhalla.sandbox.slices.nats_rules import may_subscribe


@pytest.mark.parametrize(
    ("subject", "payload"),
    [
        ("$JS.API.STREAM.INFO.orders", ""),
        ("$JS.API.STREAM.NAMES", ""),
        ("$JS.API.STREAM.LIST", ""),
        ("$JS.API.STREAM.DELETE.orders", ""),
        ("$JS.API.STREAM.PURGE.orders", ""),
        ("$JS.API.STREAM.UPDATE.orders", '{"name":"orders","subjects":["x"]}'),
        ("$JS.API.STREAM.SNAPSHOT.orders", '{"deliver_subject":"sbx.{A}.snapshot"}'),
        ("$JS.API.STREAM.MSG.GET.orders", '{"seq":1}'),
        ("$JS.API.STREAM.MSG.DELETE.orders", '{"seq":1}'),
        ("$JS.API.DIRECT.GET.orders", '{"seq":1}'),
        ("$JS.API.DIRECT.GET.KV_settings.$KV.settings.mode", ""),
        ("$JS.API.STREAM.DELETE.KV_settings", ""),
        ("$JS.API.CONSUMER.LIST.orders", ""),
        ("$JS.API.CONSUMER.INFO.orders.worker", ""),
        ("$JS.API.CONSUMER.DELETE.orders.worker", ""),
        ("$JS.API.CONSUMER.CREATE.orders", '{"stream_name":"orders","config":{"deliver_subject":"sbx.{A}.x"}}'),
        ("$JS.API.CONSUMER.DURABLE.CREATE.orders.mine", '{"stream_name":"orders","config":{"durable_name":"mine"}}'),
        ("$JS.API.CONSUMER.MSG.NEXT.orders.worker", "1"),
        ("$JS.API.CONSUMER.PAUSE.orders.worker", "{}"),
        ("$JS.API.ACCOUNT.PURGE.{accountB}", ""),
        ("$JS.API.ACCOUNT.STREAM.MOVE.{accountB}.orders", "{}"),
        ("$JS.API.SERVER.REMOVE", "{}"),
        ("$JS.API.META.LEADER.STEPDOWN", ""),
        ("$JS.API.STREAM.LEADER.STEPDOWN.orders", ""),
        ("$JS.ACK.orders.worker.1.2.2.1700000000000000000.3", "+ACK"),
        ("$JS.ACK.orders.worker.1.2.2.1700000000000000000.3", "+TERM"),
        ("$JS.FC.orders.worker.x", ""),
        ("$KV.settings.mode", "evil"),
        ("$O.files.C.x", "evil"),
    ],
)
async def test_jetstream_requests_stay_in_the_account(calm: Field, subject: str, payload: str) -> None:
    """Names of B's streams and consumers mean nothing here: no answer, an error, or an empty list."""
    client = await calm.connect()
    try:
        answer = (await client.request(calm.fill(subject), calm.fill(payload).encode(), timeout=0.1)).data.decode()
    except errors.Error:
        return
    found = json.loads(answer)

    assert "error" in found or not (found.get("streams") or found.get("consumers")), answer
    assert "secret" not in answer
    assert calm.b.id not in answer


@pytest.mark.parametrize(
    "config",
    [
        {"subjects": ["sbx.{B}.>"]},
        {"subjects": ["sbx.*.orders.>"]},
        {"subjects": ["sbx.>"]},
        {"subjects": ["ev.>"]},
        {"subjects": [">"], "no_ack": True},
        {"subjects": ["$SYS.>"]},
        {"subjects": ["_INBOX_{B}.>"]},
        {"subjects": ["$KV.settings.>"]},
        {"sources": [{"name": "orders"}]},
        {"sources": [{"name": "KV_settings"}]},
        {"sources": [{"name": "orders", "external": {"api": "$JS.API", "deliver": "sbx.{A}.stolen"}}]},
        {"sources": [{"name": "orders", "external": {"api": "$JS.{accountB}.API"}}]},
        {"mirror": {"name": "orders"}},
        {"mirror": {"name": "orders", "external": {"api": "$JS.API"}}},
    ],
)
async def test_stream_captures_nothing_of_the_victim(calm: Field, config: dict[str, Any]) -> None:
    """A stream over B's subjects, or one that sources B's stream, gets none of B's messages."""
    client = await calm.connect()
    request = json.loads(calm.fill(json.dumps({"name": "loot", "storage": "memory", **config})))
    await run_quietly(client.request("$JS.API.STREAM.CREATE.loot", json.dumps(request).encode(), timeout=0.3))
    await calm.b_state.publish(calm.fill("sbx.{B}.news"), b"secret")
    await calm.b_state.flush()
    await eventually(lambda: calm.heard, within=1)
    calm.heard.clear()
    await asyncio.sleep(0.05)

    with contextlib.suppress(JetStreamError):
        for number in range(1, (await client.jetstream().stream_info("loot")).state.last_seq + 1):
            stored = await client.jetstream().get_msg("loot", number)
            assert b"secret" not in (stored.data or b"")
            assert calm.b.id not in stored.subject


async def test_the_victims_messages_are_not_heard(calm: Field) -> None:
    """All that A may subscribe to stays silent while B works."""
    client, heard = await calm.connect(), []

    async def hear(message: Any) -> None:
        heard.append(message.subject)

    for subject in may_subscribe(calm.a):
        await client.subscribe(subject, cb=hear)
    await client.flush()
    for subject in ("sbx.{B}.news", "_INBOX_{B}.x", "$KV.settings.other", "sbx.{A}.x", "_INBOX_{A}.x"):
        await calm.b_state.publish(calm.fill(subject), b"secret")
    await calm.b_state.flush()
    await eventually(lambda: len(calm.heard) >= 5, within=1)
    await client.flush()
    calm.heard.clear()
    await (await calm.b_state.jetstream().key_value("settings")).purge("other")
    await calm.b_watch.flush()
    calm.heard.clear()

    assert heard == []
