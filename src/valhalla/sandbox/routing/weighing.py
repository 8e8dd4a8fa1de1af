"""How many bytes lanes hold. JetStream counts events under a subject but not their bytes, so each is looked at once.

Only headers come: a consumer can be asked for these and the size of the rest. What was weighed is remembered in
pieces, a sixteenth of a quota each; what was deleted since counts until a lane seems too heavy and is weighed anew.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, NamedTuple

from valhalla.kernel.problems import Unavailable
from valhalla.sandbox.routing import subjects
from valhalla.sandbox.routing.contracts import STREAM
from valhalla.sandbox.routing.frames import ApiError, delivery
from valhalla.sandbox.routing.link import Link

_PIECES: Final = 16
_BATCH: Final = 1000
# of one look: what is left comes in the next
_MOST: Final = 100_000
_SIZE: Final = b"Nats-Msg-Size:"
# what the stream writes beside subject, headers and body
_RECORD: Final = 34


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

    def weight(self, sandbox: str) -> int:
        """Return the bytes of a lane, as last seen."""
        return sum(piece.size for piece in self._lanes.get(sandbox, ()))

    def forget(self, sandbox: str) -> None:
        """Remember nothing of a lane that is closed."""
        self._lanes.pop(sandbox, None)

    async def look(self, link: Link) -> None:
        """Weigh what came onto lanes since the last look.

        Raises:
            Unavailable: JetStream does not answer.
        """
        try:
            state = (await link.api(f"STREAM.INFO.{STREAM}"))["state"]
        except ApiError as error:
            raise Unavailable("nats", f"the lanes cannot be weighed: {error}") from error
        first, last = int(state["first_seq"]), int(state["last_seq"])
        if last + 1 < self._next:
            # another stream than before
            self._lanes.clear()
            self._next = 1
        for sandbox, pieces in list(self._lanes.items()):
            while pieces and pieces[0].last < first:
                pieces.popleft()
            if not pieces:
                del self._lanes[sandbox]
        seen = 0
        async with aclosing(sizes(link, f"{subjects.SANDBOXES}.>", max(self._next, first))) as found:
            async for sandbox, sequence, size in found:
                self._add(sandbox, sequence, size)
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
        self.forget(sandbox)
        async for _, sequence, size in sizes(link, lane, 1):
            self._add(sandbox, sequence, size)
        pieces, total, below = self._lanes.get(sandbox, deque()), self.weight(sandbox), 0
        while total > self.quota and pieces:
            gone = pieces.popleft()
            total, below = total - gone.size, gone.last + 1
        if not below:
            return 0
        try:
            answer = await link.api(f"STREAM.PURGE.{STREAM}", {"filter": lane, "seq": below})
        except ApiError as error:
            raise Unavailable("nats", f"a lane cannot be cut: {error}") from error
        return int(answer.get("purged", 0))

    def _add(self, sandbox: str, sequence: int, size: int) -> None:
        pieces = self._lanes.setdefault(sandbox, deque())
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
    name, inbox = f"w{secrets.token_hex(8)}", f"{link.inbox}.w.{secrets.token_hex(6)}"
    config = {
        "name": name, "filter_subject": wanted, "deliver_policy": "by_start_sequence", "opt_start_seq": first,
        "ack_policy": "none", "headers_only": True, "mem_storage": True, "num_replicas": 1,
        "inactive_threshold": 10_000_000_000,
    }  # fmt: skip
    batch: list[tuple[str, int, int]] = []
    done = asyncio.Event()

    def came(subject: str, reply: str | None, block: bytes | None, body: bytes) -> None:
        if (said := delivery(reply)) is None:
            done.set()
            return
        sequence = int(said[1])
        headers = block or b""
        before, found, rest = headers.partition(_SIZE)
        number, _, after = rest.partition(b"\r\n")
        size = int(number) if found else len(body)
        batch.append((subject.split(".", 3)[2], sequence, size + len(before) + len(after) + len(subject) + _RECORD))
        if len(batch) >= _BATCH:
            done.set()

    sid = link.subscribe(inbox, came)
    try:
        create = {"stream_name": STREAM, "action": "create", "config": config}
        await link.api(f"CONSUMER.CREATE.{STREAM}.{name}", create)
        while True:
            done.clear()
            asked = b'{"batch":%d,"no_wait":true}' % _BATCH
            link.publish(f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{name}", asked, reply=inbox)
            async with asyncio.timeout(5):
                await done.wait()
            came_now, batch = batch, []
            for each in came_now:
                yield each
            if len(came_now) < _BATCH:
                break
        await link.api(f"CONSUMER.DELETE.{STREAM}.{name}")
    except ApiError as error:
        raise Unavailable("nats", f"the lanes cannot be weighed: {error}") from error
    except TimeoutError as error:
        raise Unavailable("nats", "nats does not say in time what lanes hold") from error
    finally:
        link.unsubscribe(sid)
