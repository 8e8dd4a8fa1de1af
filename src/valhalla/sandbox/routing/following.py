"""Following a stream without a gap: everything it holds per subject, then everything that comes."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable
from typing import Final

from valhalla.sandbox.routing.frames import delivery
from valhalla.sandbox.routing.link import Link

_SILENCE: Final = 0.5
_NAMES: Final = itertools.count()


class Following:
    """A consumer that delivers to one connection and ends with it.

    ``heard`` gets subject, headers' block, body and sequence. The server says every 100 ms that it is there and how
    far it has delivered. A gap or silence ends the following: whoever follows begins anew.
    """

    def __init__(
        self, link: Link, stream: str, wanted: str, heard: Callable[[str, bytes | None, bytes, int], None]
    ) -> None:
        self._link = link
        self._stream = stream
        self._wanted = wanted
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._delivered = 0
        self._sid: str | None = None
        self._consumer = f"f{secrets.token_hex(6)}{next(_NAMES)}"
        self.sequence = 0
        self.complete = asyncio.Event()
        """Set when everything that the stream held at the start has been heard."""
        self.lost: str | None = None
        self.last_heard = self._loop.time()

    async def start(self) -> None:
        """Begin; everything stored before this was called is heard before ``complete``.

        Raises:
            ApiError, Unavailable: the server does not let one follow.
        """
        subject = f"{self._link.inbox}.f.{self._consumer}"
        self._sid = self._link.subscribe(subject, self._message)
        answer = await self._link.api(
            f"CONSUMER.CREATE.{self._stream}.{self._consumer}",
            {
                "stream_name": self._stream,
                "action": "create",
                "config": {
                    "name": self._consumer,
                    "deliver_subject": subject,
                    "deliver_policy": "last_per_subject",
                    "filter_subject": self._wanted,
                    "ack_policy": "none",
                    "max_deliver": 1,
                    "idle_heartbeat": 100_000_000,
                    "mem_storage": True,
                    "num_replicas": 1,
                    "inactive_threshold": 5_000_000_000,
                },
            },
        )
        self.last_heard = self._loop.time()
        if not answer.get("num_pending") and not self._delivered:
            self.complete.set()

    def stop(self) -> None:
        """Hear no more; the server forgets the consumer when nobody has listened for five seconds."""
        if self._sid is not None:
            self._link.unsubscribe(self._sid)

    @property
    def is_current(self) -> bool:
        """Whether it has missed nothing, as far as half a second ago."""
        if self.lost is None and self._loop.time() - self.last_heard > _SILENCE:
            self.lost = "nothing was heard for half a second"
        return self.lost is None

    def _message(self, subject: str, reply: str | None, block: bytes | None, body: bytes) -> None:
        self.last_heard = self._loop.time()
        if (said := delivery(reply)) is None:
            self._sign_of_life(block or b"")
            return
        sequence, delivered, pending = int(said[1]), int(said[2]), int(said[4])
        if delivered != self._delivered + 1:
            self.lost = f"message {self._delivered + 1} was not heard"
            return
        self._delivered = delivered
        self.sequence = max(self.sequence, sequence)
        self._heard(subject, block, body, sequence)
        if pending == 0:
            self.complete.set()

    def _sign_of_life(self, block: bytes) -> None:
        for line in block.split(b"\r\n"):
            if line.lower().startswith(b"nats-last-consumer:") and int(line.partition(b":")[2]) > self._delivered:
                self.lost = "messages were not heard"
