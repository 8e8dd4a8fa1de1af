"""How many bytes lanes hold. JetStream counts events under a subject but not their bytes, so each is looked at once.

Only headers come: a consumer can be asked for these and the size of the rest. What was weighed is remembered in
pieces, a sixteenth of a quota each; what was deleted since counts until a lane seems too heavy and is weighed anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from typing import Final, NamedTuple

from valhalla.kernel.problems import Unavailable
from valhalla.sandbox.routing import subjects
from valhalla.sandbox.routing.contracts import STREAM
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.routing.pulling import Message, Pull

_PIECES: Final = 16
_BATCH: Final = 1000
# of one look: what is left comes in the next
_MOST: Final = 100_000
# the server's own is the last header: what a publisher calls so is before it
_SIZE: Final = b"\r\nNats-Msg-Size:"
_BARE: Final = b"NATS/1.0"
# what the stream writes beside subject and body, and around headers
_RECORD: Final = 30
_AROUND: Final = 8


class Piece(NamedTuple):
    """Some events of a lane that follow each other: the last one's sequence, and how much they are together."""

    last: int
    size: int


class Scales:
    """Weighs lanes; ``quota`` in bytes is what a lane may hold."""

    def __init__(self, quota: int) -> None:
        self.quota = quota
        self._lanes: dict[str, deque[Piece]] = {}
        self._next = 1
        self._stream = ""

    def weight(self, sandbox: str) -> int:
        """Return the bytes of a lane, as last seen."""
        return sum(piece.size for piece in self._lanes.get(sandbox, ()))

    def only(self, sandboxes: Collection[str]) -> None:
        """Remember nothing of other lanes than these: they are closed or empty."""
        for sandbox in self._lanes.keys() - set(sandboxes):
            del self._lanes[sandbox]

    async def look(self, link: Link) -> None:
        """Weigh what came onto lanes since the last look.

        Raises:
            Unavailable: JetStream does not answer.
        """
        try:
            info = await link.api(f"STREAM.INFO.{STREAM}")
        except ApiError as error:
            raise Unavailable("nats", f"the lanes cannot be weighed: {error}") from error
        first, last = int(info["state"]["first_seq"]), int(info["state"]["last_seq"])
        if info["created"] != self._stream or last + 1 < self._next:
            # another stream than before, or one that lost its end
            self._lanes.clear()
            self._stream, self._next = info["created"], 1
        for sandbox, pieces in list(self._lanes.items()):
            while pieces and pieces[0].last < first:
                pieces.popleft()
            if not pieces:
                del self._lanes[sandbox]
        seen = 0
        async with aclosing(sizes(link, f"{subjects.SANDBOXES}.>", max(self._next, first))) as found:
            async for sandbox, sequence, size in found:
                self._add(self._lanes.setdefault(sandbox, deque()), sequence, size)
                self._next = sequence + 1
                seen += 1
                if seen >= _MOST:
                    return
        self._next = max(self._next, last + 1)

    async def cut(self, link: Link, sandbox: str) -> int:
        """Let the oldest events of a lane go until it is within the quota; return how many went.

        Raises:
            Unavailable: JetStream does not answer.
        """
        if self.weight(sandbox) <= self.quota:
            return 0
        lane = f"{subjects.lane(sandbox)}.>"
        # a lane that is half weighed would seem light for ever: it takes the old one's place when it is whole
        pieces = deque[Piece]()
        async with aclosing(sizes(link, lane, 1)) as found:
            async for _, sequence, size in found:
                self._add(pieces, sequence, size)
        self._lanes[sandbox] = pieces
        over, gone = self.weight(sandbox) - self.quota, list[Piece]()
        for piece in pieces:
            if over <= 0:
                break
            gone.append(piece)
            over -= piece.size
        if not gone:
            return 0
        try:
            answer = await link.api(f"STREAM.PURGE.{STREAM}", {"filter": lane, "seq": gone[-1].last + 1})
        except ApiError as error:
            raise Unavailable("nats", f"a lane cannot be cut: {error}") from error
        for _ in gone:
            pieces.popleft()
        return int(answer.get("purged", 0))

    def _add(self, pieces: deque[Piece], sequence: int, size: int) -> None:
        if pieces and pieces[-1].last >= sequence:
            return
        if pieces and pieces[-1].size + size <= self.quota // _PIECES:
            size += pieces.pop().size
        pieces.append(Piece(sequence, size))


async def sizes(link: Link, wanted: str, first: int) -> AsyncGenerator[tuple[str, int, int]]:
    """Go through the lanes under a filter from a sequence on: sandbox, sequence and bytes of each event.

    Raises:
        Unavailable: JetStream does not answer.
    """
    pull = await Pull.open(link, STREAM, [wanted], first, headers_only=True)
    try:
        while pull.pending and (found := await pull.take(_BATCH)):
            for each in found:
                yield each.subject.split(".", 3)[2], each.sequence, _size(each)
    finally:
        await pull.close()


def _size(message: Message) -> int:
    headers, _, body = message.block.rpartition(_SIZE)
    around = 0 if headers == _BARE else len(headers) + _AROUND
    return len(message.subject) + int(body) + around + _RECORD
