"""Pulling from a stream in order: no more is on its way than was asked for, so who is slow asks for less."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from valhalla.kernel.problems import Unavailable
from valhalla.sandbox.routing.frames import ApiError, delivery
from valhalla.sandbox.routing.link import Link

_STATUS: Final = re.compile(rb"NATS/1\.0 (\d{3})([^\r]*)")
_NANOSECONDS: Final = 1_000_000_000
# the largest event with its headers fits; what is more waits for the next request
_BYTES: Final = 2 * 2**20
_GRACE: Final = 5.0


class Message(NamedTuple):
    """One message: ``pending`` is what lies behind it, ``at`` when it was stored, in nanoseconds."""

    subject: str
    block: bytes
    body: bytes
    sequence: int
    pending: int
    at: int

    @property
    def stored_at(self) -> datetime:
        """When it was stored, by the server's clock."""
        return datetime.fromtimestamp(self.at / _NANOSECONDS, UTC)


class Pull:
    """A reader of its own over one link: what begins there goes by it once, and nobody else's place moves."""

    def __init__(self, link: Link, consumer: str, seconds: float) -> None:
        """``consumer`` is ``{stream}.{name}``, made by ``open``."""
        self.pending = 0
        """How much lay behind what was taken last."""
        self._link = link
        self._consumer = consumer
        self._wait = seconds
        self._inbox = f"{link.inbox}.p.{consumer.rpartition('.')[2]}"
        self._sid = link.subscribe(self._inbox, self._heard)
        self._found: list[Message] = []
        self._delivered = 0
        self._asked = 0
        self._lost: str | None = None
        self._is_quiet = False
        self._came = asyncio.Event()

    @classmethod
    async def open(
        cls,
        link: Link,
        stream: str,
        wanted: Sequence[str],
        first: int,
        *,
        seconds: float = 0.0,
        headers_only: bool = False,
    ) -> Pull:
        """Read what filters find from a sequence on; ``seconds`` is how long a request waits, 0: not at all.

        Raises:
            Unavailable: JetStream does not answer, or refuses it.
        """
        name = f"g-{secrets.token_hex(8)}"
        config: dict[str, Any] = {
            "name": name,
            "filter_subjects": list(wanted),
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": max(first, 1),
            "ack_policy": "none",
            "headers_only": headers_only,
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": 60 * _NANOSECONDS,
        }
        request = {"stream_name": stream, "config": config, "action": "create"}
        try:
            answer = await link.api(f"CONSUMER.CREATE.{stream}.{name}", request)
        except ApiError as error:
            raise Unavailable("nats", f"the stream {stream} cannot be read: {error}") from error
        pull = cls(link, f"{stream}.{name}", seconds)
        pull.pending = int(answer.get("num_pending", 0))
        return pull

    async def close(self) -> None:
        """Hear no more. The server forgets the reader; where it is not told, after a minute."""
        self._link.unsubscribe(self._sid)
        with contextlib.suppress(Unavailable, ApiError):
            await self._link.api(f"CONSUMER.DELETE.{self._consumer}")

    async def take(self, most: int) -> list[Message]:
        """Return what has come, at most ``most`` on their way at a time; nothing if nothing came in time.

        Raises:
            Unavailable: the connection or the reader is lost; it has to be opened anew.
        """
        while not self._found:
            if self._lost is not None:
                raise Unavailable("nats", f"a reader was lost: {self._lost}")
            if self._asked <= 0:
                self._ask(most)
            self._came.clear()
            await self._anything()
            if self._is_quiet:
                break
        found, self._found = self._found, []
        if found:
            self.pending = found[-1].pending
        return found

    async def _anything(self) -> None:
        now = asyncio.get_running_loop().time
        until = now() + self._wait + _GRACE
        while not self._came.is_set():
            if not self._link.is_open:
                raise Unavailable("nats", "the connection to nats was lost")
            if now() > until:
                raise Unavailable("nats", "nats says nothing to a reader")
            with contextlib.suppress(TimeoutError):
                # a link that is lost does not say so to those who listen
                async with asyncio.timeout(0.5):
                    await self._came.wait()

    def _ask(self, most: int) -> None:
        self._asked = most
        self._is_quiet = False
        wanted: dict[str, Any] = {"batch": most, "max_bytes": _BYTES}
        wanted |= {"expires": int(self._wait * _NANOSECONDS)} if self._wait else {"no_wait": True}
        self._link.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._consumer}", json.dumps(wanted).encode(), reply=self._inbox
        )

    def _heard(self, subject: str, reply: str | None, block: bytes | None, body: bytes) -> None:
        if (said := delivery(reply)) is not None:
            self._message(subject, block or b"", body, said)
        elif (status := _STATUS.match(block or b"")) is not None:
            self._said(status[1], status[2])

    def _message(self, subject: str, block: bytes, body: bytes, said: list[str]) -> None:
        self._asked -= 1
        if int(said[2]) == self._delivered + 1:
            self._delivered += 1
            self._found.append(Message(subject, block, body, int(said[1]), int(said[4]), int(said[3])))
        else:
            self._lost = f"message {self._delivered + 1} was not heard"
        self._came.set()

    def _said(self, status: bytes, words: bytes) -> None:
        # the second is of a request that was served to its end, and the next may be under way already
        if status == b"100" or b"Batch Completed" in words:
            return
        self._asked = 0
        # 404 and 408: nothing came in time. 409: it was too much at once, or there is no reader any more
        self._is_quiet = status in (b"404", b"408")
        if not self._is_quiet and b"Exceed" not in words:
            self._lost = (status + words).decode("latin-1")
        self._came.set()
