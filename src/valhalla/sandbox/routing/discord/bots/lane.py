"""A lane read in order from a position on, whatever becomes of connections and of other readers.

The lane's own consumer delivers again what nobody acknowledged, behind what is newer, and shares out among its
readers. A bot needs order and everything: so it is read by a consumer that lives as long as the connection, and how
far it was sent is written down (``positions``). Other programs of the sandbox read as before.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from valhalla.kernel.problems import Unavailable
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff
from valhalla.sandbox.routing.contracts import STREAM
from valhalla.sandbox.routing.discord.bots.line import Line
from valhalla.sandbox.routing.discord.bots.pulling import ConsumerGone, Message, Pull
from valhalla.sandbox.routing.frames import ApiError

_log = get_logger("sandbox.routing.discord")
_SECOND: Final = 1_000_000_000
_SECONDS: Final = 20.0


class Lane:
    """Reads what lies behind ``position``; ``batch`` messages are in memory at most."""

    def __init__(self, line: Line, lane: str, position: int, *, batch: int) -> None:
        """``lane`` is what the subjects of its events begin with."""
        self.position = position
        self._line = line
        self._wanted = f"{lane}.>"
        self._batch = batch
        self._pull: Pull | None = None
        self._delivered = 0
        self._name = ""

    async def open(self) -> int:
        """Begin, and return how many events lie behind the position now.

        Raises:
            Unavailable: NATS does not answer.
        """
        link = await self._line.link()
        self._name = f"g-{secrets.token_hex(8)}"
        config = {
            "name": self._name,
            "filter_subject": self._wanted,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self.position + 1,
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": 60 * _SECOND,
        }
        request = {"stream_name": STREAM, "config": config, "action": "create"}
        try:
            answer = await link.api(f"CONSUMER.CREATE.{STREAM}.{self._name}", request)
        except ApiError as error:
            raise Unavailable("nats", f"the lane cannot be read: {error}") from error
        self._pull, self._delivered = Pull(link, STREAM, self._name, seconds=_SECONDS), 0
        return int(answer.get("num_pending", 0))

    async def take(self) -> list[Message]:
        """Return the next events, in order, as soon as there are some; goes on over lost connections."""
        backoff = Backoff(0.1, 5.0)
        while True:
            try:
                if self._pull is None:
                    await self.open()
                assert self._pull is not None
                found = await self._pull.take(self._batch)
                first = self._delivered + 1
                if [each.number for each in found] != list(range(first, first + len(found))):
                    raise ConsumerGone("messages were not heard")
            except (Unavailable, ConsumerGone) as error:
                _log.info("a lane is read anew", reason=str(error))
                self._forget()
                await asyncio.sleep(backoff.next())
                continue
            if found:
                self._delivered += len(found)
                self.position = found[-1].sequence
                return found

    async def close(self) -> None:
        """End it; the server would forget it after a while, too."""
        name, self._name = self._name, ""
        pull = self._forget()
        if pull and name:
            try:
                link = await self._line.link()
                await link.api(f"CONSUMER.DELETE.{STREAM}.{name}")
            except (Unavailable, ApiError) as error:
                _log.info("a reader was left to the server", reason=str(error))

    def _forget(self) -> bool:
        pull, self._pull = self._pull, None
        if pull is not None:
            pull.stop()
        return pull is not None


async def oldest(line: Line) -> int:
    """Return the sequence of the oldest event that the stream has.

    Raises:
        Unavailable: NATS does not answer.
    """
    link = await line.link()
    try:
        return int((await link.api(f"STREAM.INFO.{STREAM}"))["state"]["first_seq"])
    except ApiError as error:
        raise Unavailable("nats", f"the stream cannot be read: {error}") from error
