"""What sandbox A must still be able to do on the shared NATS server."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from nats import errors
from tests.isolation.nats_attacks.field import Field

from valhalla.sandbox.slices.nats_rules import NatsLimits


class TestAllowed:
    """The sandbox has a NATS of its own: everything that ordinary clients do works."""

    async def test_publish_and_subscribe(self, calm: Field) -> None:
        """Own subjects, wildcards within them, and queue groups."""
        client = await calm.connect()
        plain = await client.subscribe(calm.fill("sbx.{A}.>"))
        queue = await client.subscribe(calm.fill("sbx.{A}.*.x"), queue="workers")
        await client.publish(calm.fill("sbx.{A}.orders.x"), b"hi", headers={"a": "b"})

        assert (await plain.next_msg(timeout=10)).data == b"hi"
        assert (await queue.next_msg(timeout=10)).header == {"a": "b"}
        assert calm.problems == []

    async def test_request_and_reply(self, calm: Field) -> None:
        """With the sandbox's inbox prefix, requests are answered across connections."""
        server, client = await calm.connect(), await calm.connect()

        async def answer(message: Any) -> None:
            await message.respond(message.data.upper())

        await server.subscribe(calm.fill("sbx.{A}.upper"), cb=answer)
        await server.flush()

        async def ask() -> bytes:
            # once in many runs the server found nobody at first; a client asks again
            for _ in range(20):
                with contextlib.suppress(errors.NoRespondersError):
                    return (await client.request(calm.fill("sbx.{A}.upper"), b"hi", timeout=10)).data
                await asyncio.sleep(0.05)
            raise AssertionError(f"nobody answers; {calm.problems}, connected: {server.is_connected}")

        assert await ask() == b"HI"
        assert calm.problems == []

    async def test_streams_and_consumers(self, calm: Field) -> None:
        """Pull, push and ordered consumers, acknowledgement and negative acknowledgement."""
        client = await calm.connect()
        stream, subject = client.jetstream(), calm.fill("sbx.{A}.jobs")
        await stream.add_stream(name="jobs", subjects=[subject])
        for number in range(3):
            await stream.publish(subject, str(number).encode())
        pull = await stream.pull_subscribe(subject, "pull")
        first, second = await pull.fetch(2, timeout=10)
        await first.ack_sync()
        await second.nak()
        push = await stream.subscribe(subject, durable="push", manual_ack=True)
        ordered = await stream.subscribe(subject, ordered_consumer=True)

        assert (await push.next_msg(timeout=10)).data == b"0"
        assert [(await ordered.next_msg(timeout=10)).data for _ in range(3)] == [b"0", b"1", b"2"]
        assert (await pull.fetch(1, timeout=10))[0].data in {b"1", b"2"}
        assert calm.problems == []

    async def test_key_value(self, calm: Field) -> None:
        """Buckets with history, watch and delete; one of B's name is another bucket."""
        client = await calm.connect()
        bucket = await client.jetstream().create_key_value(bucket="settings", history=3)
        watch = await bucket.watchall()
        await bucket.put("mode", b"mine")

        assert await watch.updates(timeout=10) is None
        update = await watch.updates(timeout=10)
        assert update is not None
        assert update.value == b"mine"
        await bucket.delete("mode")
        assert calm.problems == []

    async def test_object_store(self, calm: Field) -> None:
        """Objects larger than a message."""
        client = await calm.connect()
        store = await client.jetstream().create_object_store("files")
        await store.put("big", b"x" * 3_000_000)

        assert len((await store.get("big")).data or b"") == 3_000_000
        assert calm.problems == []

    async def test_account_info(self, calm: Field) -> None:
        """The sandbox can read its own limits."""
        client = await calm.connect()
        info = await client.jetstream().account_info()

        assert info.limits.max_storage == NatsLimits().disk
        assert info.limits.max_streams == NatsLimits().streams
