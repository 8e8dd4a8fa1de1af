"""One part of a source while a router has it: pulled, handed on in order, acknowledged when it is stored."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection
from typing import Final

from valhalla.sandbox.routing.envelope import read_block
from valhalla.sandbox.routing.foreign.hop_stream import PENDING
from valhalla.sandbox.routing.frames import delivery
from valhalla.sandbox.routing.items import Stored
from valhalla.sandbox.routing.link import Link

_BATCH: Final = PENDING // 2
_EXPIRES: Final = 30_000_000_000
_ACK_EVERY: Final = 250


class Taken:
    """One message on its way; in the place of a future, for ``Outgoing``: it says where the event was stored."""

    __slots__ = ("_part", "body", "problem", "reply", "sequence", "stored", "subject")

    def __init__(self, part: Part, sequence: int, reply: str, subject: str, body: bytes) -> None:
        self._part = part
        self.sequence = sequence
        self.reply = reply
        self.subject = subject
        self.body = body
        self.stored = False
        self.problem: Exception | None = None

    def done(self) -> bool:
        """Say whether nobody waits any more."""
        return self.stored

    def set_result(self, _stored: Stored | None) -> None:
        """Take note that the store has it."""
        self.stored = True
        self._part.advance()

    def set_exception(self, problem: Exception) -> None:
        """Take note that it can be stored nowhere, and why: it is a dead letter, which is stored in its place."""
        self.problem = problem
        self._part.bury(self)


Deliver = Callable[[Taken, bytes | None], None]


class Part:
    """Pulls while there is room. ``skip`` are sequences that are known to be stored."""

    def __init__(
        self, link: Link, stream: str, number: int, consumer: str, deliver: Deliver, bury: Callable[[Taken], None]
    ) -> None:
        self.number = number
        self.consumer = consumer
        self.skip: Collection[int] = ()
        self.moved = 0
        self.lag = 0
        self.lost: str | None = None
        self.bury = bury
        self._link = link
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._deliver = deliver
        self._waiting: deque[Taken] = deque()
        self._asked = 0
        self._acknowledge = ""
        self._unsaid = 0
        self._closing = False
        self._inbox = f"{link.inbox}.h.{consumer}"
        self._sid = link.subscribe(self._inbox, self._message)
        self.pull()

    def pull(self) -> None:
        """Ask for more, if there is room and not enough is asked for."""
        room = PENDING - len(self._waiting) - self._asked
        if self._closing or self.lost is not None or room < _BATCH:
            return
        self._asked += _BATCH
        request = json.dumps({"batch": _BATCH, "expires": _EXPIRES}).encode()
        self._link.publish(self._next, request, reply=self._inbox)

    def _message(self, subject: str, reply: str | None, block: bytes | None, body: bytes) -> None:
        if reply is None or (said := delivery(reply)) is None:
            self._status(block or b"")
            return
        self._asked -= 1
        self.lag = int(said[4])
        taken = Taken(self, int(said[1]), reply, subject, body)
        self._waiting.append(taken)
        if taken.sequence in self.skip:
            taken.set_result(None)
        else:
            self._deliver(taken, block)

    def _status(self, block: bytes) -> None:
        code = block[9:12]
        if code == b"408":
            self._asked -= int(read_block(block).get("nats-pending-messages", _BATCH))
            self.pull()
        elif code != b"100":
            self.lost = block[9:80].split(b"\r\n")[0].decode("latin-1")

    def advance(self) -> None:
        """Acknowledge what is stored without a gap."""
        waiting = self._waiting
        while waiting and waiting[0].stored:
            self._acknowledge = waiting.popleft().reply
            self._unsaid += 1
            self.moved += 1
        if self._unsaid >= _ACK_EVERY or not waiting:
            self.acknowledge()
            self.pull()

    def acknowledge(self) -> None:
        """Tell the server how far everything is stored."""
        if self._unsaid and self.lost is None:
            self._unsaid = 0
            self._link.publish(self._acknowledge)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on its way."""
        return not self._waiting

    def close(self) -> None:
        """Take nothing more; what is on its way may still be acknowledged."""
        self._closing = True
        self._link.unsubscribe(self._sid)
