"""What the server publishes for sandbox A stays in A's account, wherever A tells it to publish."""

from __future__ import annotations

from typing import Any

import pytest
from nats.js import api
from tests.isolation.conftest import eventually
from tests.isolation.nats_attacks.field import Field, run_quietly

B_TARGETS = ["sbx.{B}.orders.new", "sbx.{B}.inject", "_INBOX_{B}.x", "rt.discord.1", "ev.p.discord.1.M"]


@pytest.mark.parametrize("target", B_TARGETS)
class TestInjection:
    """The server publishes where a client may not: reply subjects, push consumers, republishing, transforms."""

    async def test_reply_of_a_pull(self, calm: Field, target: str) -> None:
        """MSG.NEXT with a foreign reply subject delivers into A's own account."""
        client = await calm.connect()
        stream = client.jetstream()
        await stream.add_stream(name="mine", subjects=[calm.fill("sbx.{A}.mine")])
        await stream.publish(calm.fill("sbx.{A}.mine"), b"evil")
        await stream.add_consumer("mine", api.ConsumerConfig(durable_name="c"))
        await client.publish("$JS.API.CONSUMER.MSG.NEXT.mine.c", b"1", reply=calm.fill(target))
        await client.publish("$JS.API.CONSUMER.INFO.mine.c", b"", reply=calm.fill(target))
        await client.flush()

    async def test_reply_of_a_request(self, calm: Field, target: str) -> None:
        """A responder of A's own that answers to a foreign reply subject is refused or unheard."""
        client = await calm.connect()

        async def answer(message: Any) -> None:
            await message.respond(b"evil")

        await client.subscribe(calm.fill("sbx.{A}.service"), cb=answer)
        await client.publish(calm.fill("sbx.{A}.service"), b"x", reply=calm.fill(target))
        await client.flush()
        await eventually(lambda: calm.problems, within=1)

        assert "violation" in calm.problems[0].lower()

    async def test_push_consumer(self, calm: Field, target: str) -> None:
        """A consumer that delivers to a foreign subject delivers into A's own account."""
        client = await calm.connect()
        stream = client.jetstream()
        await stream.add_stream(name="mine", subjects=[calm.fill("sbx.{A}.mine")])
        await stream.publish(calm.fill("sbx.{A}.mine"), b"evil")
        config = api.ConsumerConfig(durable_name="push", deliver_subject=calm.fill(target))
        await run_quietly(stream.add_consumer("mine", config))
        await client.flush()

    async def test_republish(self, calm: Field, target: str) -> None:
        """Neither does a stream republish beyond the account."""
        client = await calm.connect()
        stream = client.jetstream()
        republish = api.RePublish(src=calm.fill("sbx.{A}.mine"), dest=calm.fill(target))
        await run_quietly(stream.add_stream(name="mine", subjects=[calm.fill("sbx.{A}.mine")], republish=republish))
        await run_quietly(stream.publish(calm.fill("sbx.{A}.mine"), b"evil", timeout=0.2))
        await client.flush()

    async def test_transform(self, calm: Field, target: str) -> None:
        """Nor does a subject transform."""
        client = await calm.connect()
        transform = api.SubjectTransform(src=calm.fill("sbx.{A}.mine"), dest=calm.fill(target))
        stream = client.jetstream()
        await run_quietly(
            stream.add_stream(name="mine", subjects=[calm.fill("sbx.{A}.mine")], subject_transform=transform)
        )
        await run_quietly(stream.publish(calm.fill("sbx.{A}.mine"), b"evil", timeout=0.2))
        await client.flush()
