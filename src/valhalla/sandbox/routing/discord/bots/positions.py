"""How far bots were sent their lanes: written down ten times a second, so that the next process goes on there."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from valhalla.kernel.problems import Unavailable
from valhalla.kit.log import get_logger
from valhalla.sandbox.routing import subjects
from valhalla.sandbox.routing.contracts import STREAM
from valhalla.sandbox.routing.discord.bots.lane import Lane
from valhalla.sandbox.routing.discord.bots.line import Line
from valhalla.sandbox.routing.discord.bots.sessions import PRODUCTION, Session, lane_of
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.lanes import bot_positions, lane_info

_log = get_logger("sandbox.routing.discord")
_EVERY: Final = 0.1
_MOST: Final = 10_000
Shard = tuple[str, int, int]


class Positions:
    """Of all bots of one process."""

    def __init__(self, line: Line, kept: int) -> None:
        """``kept`` events at most wait for the real bot."""
        self._line = line
        self._kept = kept
        self._known: OrderedDict[Shard, int] = OrderedDict()
        self._unwritten: dict[Shard, int] = {}
        self._noted = asyncio.Event()

    def note(self, session: Session, position: int) -> None:
        """Take note that a session was sent everything up to a position."""
        shard = session.sandbox, session.shard, session.shards
        if position <= self._known.get(shard, -1):
            return
        if len(self._known) >= _MOST and shard not in self._known:
            self._known.popitem(last=False)
        self._known[shard] = self._unwritten[shard] = position
        self._noted.set()

    async def run(self) -> None:
        """Write down until it is cancelled."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            try:
                await self.flush()
            except (Unavailable, ApiError) as error:
                _log.warning("how far bots have read is not written down", error=str(error))
                self._noted.set()
                await asyncio.sleep(1)
            await asyncio.sleep(_EVERY)

    async def flush(self) -> None:
        """Write down what is new.

        Raises:
            Unavailable, ApiError: NATS does not take it; it is written the next time.
        """
        while self._unwritten:
            link = await self._line.link()
            shard, position = next(iter(self._unwritten.items()))
            sandbox, number, of = shard
            await link.store(f"{subjects.BOTS}.{sandbox}.{number}.{of}", b"%d" % position)
            if self._unwritten.get(shard) == position:
                del self._unwritten[shard]

    async def beginning(self, sandbox: str, number: int, of: int) -> int:
        """Return the position behind which lies what this shard of a bot has to be sent.

        Raises:
            Unavailable: NATS does not answer.
        """
        link = await self._line.link()
        info = await lane_info(link, sandbox)
        written = await bot_positions(link, sandbox)
        for (owner, shard, shards), at in self._known.items():
            if owner == sandbox:
                written[shard, shards] = max(at, written.get((shard, shards), 0))
        mine = furthest(written, number, of)
        if sandbox == PRODUCTION and not written:
            # as at Discord: who comes for the first time has missed nothing
            mine = await self.newest()
        floor = max(mine, int(info.get("ack_floor", {}).get("stream_seq", 0)))
        try:
            answer = await link.api(f"STREAM.INFO.{STREAM}", {"subjects_filter": f"{lane_of(sandbox)}.>"})
        except ApiError as error:
            raise Unavailable("nats", f"the stream cannot be read: {error}") from error
        state = answer["state"]
        # of an empty lane: numbers begin where the stream is
        least = int(state["first_seq"]) - 1 if state.get("subjects") else int(state["last_seq"])
        position = max(floor, least)
        if sandbox == PRODUCTION and await self._behind(position) > self._kept:
            # a bot that was away for hours has at Discord missed them, too
            return await self.newest()
        return position

    async def _behind(self, position: int) -> int:
        lane = Lane(self._line, lane_of(PRODUCTION), position, batch=1)
        try:
            return await lane.open()
        finally:
            await lane.close()

    async def newest(self) -> int:
        """Return the sequence of the newest event of all.

        Raises:
            Unavailable: NATS does not answer.
        """
        link = await self._line.link()
        try:
            return int((await link.api(f"STREAM.INFO.{STREAM}"))["state"]["last_seq"])
        except ApiError as error:
            raise Unavailable("nats", f"the stream cannot be read: {error}") from error


def furthest(written: Mapping[tuple[int, int], int], number: int, of: int) -> int:
    """Return up to where everything of a shard was sent, to itself or to bots with another number of shards.

    Those count whose shards have all been there: what one would have been sent that never came nobody has.
    """
    found = [written.get((number, of), 0)]
    for shards in {shards for _, shards in written} - {of}:
        theirs = [at for (_, of_them), at in written.items() if of_them == shards]
        if len(theirs) == shards:
            found.append(min(theirs))
    return max(found)
