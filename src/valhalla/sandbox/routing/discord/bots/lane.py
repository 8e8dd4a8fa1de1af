"""A lane read in order from a position on, whatever becomes of connections and of other readers.

The lane's own consumer delivers again what nobody acknowledged, behind what is newer, and shares out among its
readers. A bot needs order and everything: so it is read by a consumer that lives as long as the connection, and how
far it was sent is written down (``positions``). Other programs of the sandbox read as before.
"""

from __future__ import annotations

import asyncio
from typing import Final

from valhalla.kernel.problems import Unavailable
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff
from valhalla.sandbox.routing.contracts import STREAM
from valhalla.sandbox.routing.discord.bots.line import Line
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.pulling import Message, Pull

_log = get_logger("sandbox.routing.discord")
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

    async def open(self) -> int:
        """Begin, and return how many events lie behind the position now.

        Raises:
            Unavailable: NATS does not answer.
        """
        link = await self._line.link()
        self._pull = await Pull.open(link, STREAM, [self._wanted], self.position + 1, seconds=_SECONDS)
        return self._pull.pending

    async def take(self) -> list[Message]:
        """Return the next events, in order, as soon as there are some; goes on over lost connections."""
        backoff = Backoff(0.1, 5.0)
        while True:
            try:
                if self._pull is None:
                    await self.open()
                assert self._pull is not None
                found = await self._pull.take(self._batch)
            except Unavailable as error:
                _log.info("a lane is read anew", reason=error.detail)
                await self.close()
                await asyncio.sleep(backoff.next())
                continue
            if found:
                self.position = found[-1].sequence
                return found

    async def close(self) -> None:
        """End it."""
        pull, self._pull = self._pull, None
        if pull is not None:
            await pull.close()


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
