"""Pulling from a consumer of JetStream: no more is on its way than was asked for, so who is slow asks for less."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

from valhalla.kernel.problems import Unavailable
from valhalla.sandbox.routing.frames import delivery
from valhalla.sandbox.routing.link import Link

_TOKENS: Final = itertools.count()
_STATUS: Final = re.compile(rb"NATS/1\.0 (\d{3})([^\r]*)")
# the largest event with its headers fits; what is more waits for the next request
_BYTES: Final = 2 * 2**20
_GRACE: Final = 2.0


class Message(NamedTuple):
    """One message: ``number`` counts what the consumer delivered, ``pending`` is what it has yet."""

    subject: str
    block: bytes
    body: bytes
    sequence: int
    number: int
    pending: int
    stored_at: datetime


class ConsumerGone(Exception):  # noqa: N818 - what happened
    """The server does not know the consumer any more, or says nothing."""


class Pull:
    """Asks one consumer over one link; ``seconds`` is how long a request waits for messages."""

    def __init__(self, link: Link, stream: str, consumer: str, *, seconds: float) -> None:
        self._link = link
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._seconds = seconds
        self._inbox = f"{link.inbox}.p.{next(_TOKENS)}"
        self._sid = link.subscribe(self._inbox, self._heard)
        self._found: list[Message] = []
        self._asked = 0
        self._gone = False
        self._came = asyncio.Event()

    def stop(self) -> None:
        """Hear no more."""
        self._link.unsubscribe(self._sid)

    async def take(self, most: int) -> list[Message]:
        """Return what has come, at most ``most`` on their way at a time; nothing if nothing came in time.

        Raises:
            ConsumerGone: it has to be made anew.
            Unavailable: the connection is lost.
        """
        if not self._found:
            if self._asked <= 0:
                self._ask(most)
            self._came.clear()
            await self._wait()
        found, self._found = self._found, []
        return found

    async def _wait(self) -> None:
        now = asyncio.get_running_loop().time
        until = now() + self._seconds + _GRACE
        while not self._came.is_set():
            if not self._link.is_open:
                raise Unavailable("nats", "the connection to nats was lost")
            if now() > until:
                raise ConsumerGone("nothing is heard")
            try:
                # a link that is lost does not say so to those who listen
                async with asyncio.timeout(0.5):
                    await self._came.wait()
            except TimeoutError:
                continue
        if self._gone and not self._found:
            raise ConsumerGone("the server says so")

    def _ask(self, most: int) -> None:
        self._asked = most
        wanted = {"batch": most, "expires": int(self._seconds * 1e9), "max_bytes": _BYTES}
        self._link.publish(self._subject, json.dumps(wanted).encode(), reply=self._inbox)

    def _heard(self, subject: str, reply: str | None, block: bytes | None, body: bytes) -> None:
        if (said := delivery(reply)) is not None:
            self._asked -= 1
            sequence, number, at, pending = (int(each) for each in said[1:5])
            stored_at = datetime.fromtimestamp(at / 1e9, UTC)
            self._found.append(Message(subject, block or b"", body, sequence, number, pending, stored_at))
            self._came.set()
            return
        status = _STATUS.match(block or b"")
        if status is None or status[1] == b"100":
            return
        # 404 and 408: nothing came in time. 409: it was too much at once, or the consumer is gone
        self._asked = 0
        self._gone = status[1] == b"503" or (status[1] == b"409" and b"Consumer" in status[2])
        self._came.set()
