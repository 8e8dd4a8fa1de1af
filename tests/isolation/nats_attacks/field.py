"""The field of the attacks on NATS: two sandboxes, with everything of B's that an attack could touch."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

from nats import errors
from nats.aio.client import Client, RawCredentials
from nats.js.errors import Error as JetStreamError

from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.nats import NatsSlice


@dataclass
class Field:
    """Two sandboxes, with everything of B's that an attack could touch."""

    part: NatsSlice
    url: str
    cell: CellKey
    a: Names
    b: Names
    creds: str
    b_watch: Any
    b_state: Any
    control: Any
    heard: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    opened: list[Any] = field(default_factory=list)

    def fill(self, text: str) -> str:
        account = self.part.account(self.b).public
        return text.replace("{A}", self.a.id).replace("{B}", self.b.id).replace("{accountB}", account)

    async def connect(self, creds: str | None = None, *, inbox: str | None = None) -> Any:
        """Connect as A, or with other credentials; what the server complains about later is in ``problems``."""

        async def note(error: Exception) -> None:
            self.problems.append(str(error))

        client = Client()
        async with asyncio.timeout(3):
            await client.connect(
                self.url,
                user_credentials=RawCredentials(creds or self.creds),
                inbox_prefix=(inbox or self.a.inbox_prefix).encode(),
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                error_cb=note,
                skip_subject_validation=True,
            )
        self.opened.append(client)
        return client

    async def state(self) -> tuple[Any, ...]:
        """B's stream, consumer and bucket, read by B itself."""
        stream = self.b_state.jetstream()
        info = await stream.stream_info("orders")
        consumer = await stream.consumer_info("orders", "worker")
        bucket = await stream.key_value("settings")
        names = sorted(stream.config.name for stream in await stream.streams_info())
        return (
            names,
            info.state.messages,
            info.state.last_seq,
            info.config.subjects,
            consumer.num_pending,
            consumer.num_ack_pending,
            consumer.ack_floor.stream_seq if consumer.ack_floor else 0,
            (await bucket.get("mode")).value,
            (await stream.get_msg("orders", 1)).data,
        )


async def run_quietly(step: Any) -> None:
    """Take a step of an attack; whether the server accepts it does not matter, what B notices does."""
    with contextlib.suppress(errors.Error, JetStreamError, TimeoutError):
        await step
