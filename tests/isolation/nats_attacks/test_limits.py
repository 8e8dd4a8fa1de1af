"""What one account may use of the shared NATS server."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from nats import errors
from nats.js.errors import Error as JetStreamError
from tests.isolation.conftest import eventually
from tests.isolation.nats_attacks.field import Field, run_quietly

from valhalla.sandbox.slices.nats_rules import NatsLimits


async def ask(client: Any, subject: str, **body: Any) -> str:
    """Return the error's description of a JetStream request, or an empty text."""
    answer = json.loads((await client.request(subject, json.dumps(body).encode(), timeout=10)).data)
    return answer.get("error", {}).get("description", "")


class TestLimits:
    """What one account may use, enforced by the server."""

    @pytest.mark.parametrize("storage", ["file", "memory"])
    async def test_oversize_stream(self, calm: Field, storage: str) -> None:
        """A stream that reserves more than the account has is refused."""
        client = await calm.connect()
        refusal = await ask(
            client, "$JS.API.STREAM.CREATE.big", name="big", subjects=["sbx.x"], storage=storage, max_bytes=2**30
        )

        assert "insufficient" in refusal or "exceeded" in refusal

    async def test_storage_is_full_at_the_limit(self, calm: Field) -> None:
        """A stream without a size of its own stops taking messages where the account ends."""
        client = await calm.connect()
        stream = client.jetstream()
        await stream.add_stream(name="fill", subjects=[calm.fill("sbx.{A}.fill")], storage="memory")
        piece = b"x" * 1_000_000
        fitting = NatsLimits().memory // len(piece) - 1
        for _ in range(fitting):
            await stream.publish(calm.fill("sbx.{A}.fill"), piece)
        await run_quietly(stream.publish(calm.fill("sbx.{A}.fill"), piece))
        with pytest.raises(JetStreamError, match="exceeded"):
            await stream.publish(calm.fill("sbx.{A}.fill"), piece)

        assert (await stream.stream_info("fill")).state.bytes <= NatsLimits().memory

    async def test_number_of_streams_and_consumers(self, calm: Field) -> None:
        """The eleventh stream and the fifty-first consumer are refused."""
        client = await calm.connect()
        for number in range(NatsLimits().streams):
            subject = calm.fill(f"sbx.{{A}}.s{number}")
            assert not await ask(client, f"$JS.API.STREAM.CREATE.s{number}", name=f"s{number}", subjects=[subject])
        refused = await ask(client, "$JS.API.STREAM.CREATE.more", name="more", subjects=[calm.fill("sbx.{A}.more")])
        assert "maximum number of streams" in refused
        refusals = [
            await ask(
                client,
                f"$JS.API.CONSUMER.DURABLE.CREATE.s0.c{number}",
                stream_name="s0",
                config={"durable_name": f"c{number}", "ack_policy": "explicit"},
            )
            for number in range(NatsLimits().consumers + 1)
        ]
        assert refusals[-1]
        assert not any(refusals[:-1])

    async def test_connections(self, calm: Field) -> None:
        """The eleventh connection is refused, and the ten go on."""
        clients = [await calm.connect() for _ in range(NatsLimits().connections)]
        with pytest.raises(errors.Error, match="connections exceeded"):
            await calm.connect()
        for client in clients:
            await client.flush()

    async def test_subscriptions(self, calm: Field) -> None:
        """Subscriptions end at the limit."""
        client = await calm.connect()
        for number in range(NatsLimits().subscriptions + 1):
            await client.subscribe(calm.fill(f"sbx.{{A}}.{number}"))
        with contextlib.suppress(errors.Error):
            await client.flush()
        await eventually(lambda: any("subscriptions exceeded" in text for text in calm.problems) or client.is_closed)

    async def test_payload(self, calm: Field) -> None:
        """A message over a megabyte ends the connection that sent it, whatever the client believes."""
        client = await calm.connect()
        client._max_payload = 10**9
        with contextlib.suppress(errors.Error, OSError):
            await client.publish(calm.fill("sbx.{A}.x"), b"x" * (NatsLimits().payload + 1))
            await client.flush()
        await eventually(lambda: client.is_closed)
