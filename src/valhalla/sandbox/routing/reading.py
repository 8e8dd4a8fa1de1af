"""Reading lanes and dead letters from outside a sandbox: pages, and following what comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from valhalla.kernel.problems import Unavailable
from valhalla.sandbox.routing import envelope, subjects
from valhalla.sandbox.routing.claims import Claims
from valhalla.sandbox.routing.contracts import DEAD_STREAM, STREAM, Received
from valhalla.sandbox.routing.errors import DeadLetterGone, EventInvalid
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.lanes import lane_info, next_message

_LOOK: Final = 0.2


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a sandbox could not work on; ``number`` is its own, ``received.sequence`` the event's."""

    number: int
    received: Received
    reason: str


class Reader:
    """Reads over the connection of ``claims``, and so as the control plane."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims

    async def page(self, sandbox: str, *, after: int, limit: int) -> list[Received]:
        """Return up to ``limit`` events of a lane, oldest first, behind a sequence.

        Raises:
            Unavailable: NATS does not answer.
        """
        link, _ = await self._claims.connected()
        wanted, found, sequence = f"{subjects.lane(sandbox)}.>", list[Received](), after + 1
        while len(found) < limit:
            message = await next_message(link, STREAM, sequence, wanted)
            if message is None:
                break
            subject, sequence, block, body = message
            # what somebody else put into our tree is passed over
            with contextlib.suppress(EventInvalid):
                found.append(envelope.read(subject, envelope.read_block(block), body, sequence=sequence))
            sequence += 1
        return found

    async def follow(self, sandbox: str, *, after: int, until: asyncio.Event) -> AsyncIterator[Received | None]:
        """Yield events of a lane behind a sequence as they come, and None about every 10 s without one."""
        quiet = 0.0
        while not until.is_set():
            found = await self.page(sandbox, after=after, limit=200)
            for received in found:
                after = received.sequence
                yield received
            if found:
                quiet = 0.0
                continue
            quiet += _LOOK
            if quiet >= 10:
                quiet = 0.0
                yield None
            await asyncio.sleep(_LOOK)

    async def newest(self, sandbox: str) -> int:
        """Return the sequence of a lane's newest event, 0 if it has none.

        Raises:
            Unavailable: NATS does not answer.
        """
        link, _ = await self._claims.connected()
        try:
            answer = await link.api(f"STREAM.MSG.GET.{STREAM}", {"last_by_subj": f"{subjects.lane(sandbox)}.>"})
        except ApiError:
            return 0
        return int(answer["message"]["seq"])

    async def lag(self, sandbox: str) -> dict[str, int]:
        """Return how many events of a lane wait, are being worked on, and were delivered again.

        Raises:
            Unavailable: NATS does not answer.
        """
        link, _ = await self._claims.connected()
        info = await lane_info(link, sandbox)
        names = {"waiting": "num_pending", "unacknowledged": "num_ack_pending", "redelivered": "num_redelivered"}
        return {name: int(info.get(member, 0)) for name, member in names.items()}

    async def dead(self, sandbox: str, *, after: int, limit: int) -> list[DeadLetter]:
        """Return up to ``limit`` dead letters of a sandbox behind a number.

        Raises:
            Unavailable: NATS does not answer.
        """
        link, _ = await self._claims.connected()
        found, number = list[DeadLetter](), after + 1
        while len(found) < limit:
            message = await next_message(link, DEAD_STREAM, number, f"{subjects.DEAD}.s.{sandbox}.>")
            if message is None:
                break
            found.append(_letter(message))
            number = message[1] + 1
        return found

    async def replay(self, sandbox: str, number: int) -> int:
        """Put a dead letter on its lane again, as a new event, and remove it; returns the event's sequence.

        Raises:
            DeadLetterGone: there is none of this number.
            Unavailable: NATS does not answer; repeat it.
        """
        link, _ = await self._claims.connected()
        message = await next_message(link, DEAD_STREAM, number, f"{subjects.DEAD}.s.{sandbox}.>")
        if message is None or message[1] != number:
            raise DeadLetterGone(f"the sandbox has no dead letter {number}", number=number)
        subject, _, block, body = message
        headers = {
            name: value
            for name, value in envelope.read_block(block).items()
            if name not in {"nats-msg-id", envelope.REASON, envelope.SEQUENCE}
        }
        headers[envelope.MSG_ID] = f"dead-{number}"
        try:
            sequence = await link.store(f"{subjects.LANES}.{subject.removeprefix('dl.')}", body, headers=headers)
            await link.api(f"STREAM.MSG.DELETE.{DEAD_STREAM}", {"seq": number, "no_erase": True})
        except ApiError as error:
            raise Unavailable("nats", f"the dead letter could not be put back: {error}") from error
        return sequence


def document(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter for JSON."""
    return {"number": letter.number, "reason": letter.reason, "event": letter.received.document()}


def _letter(message: tuple[str, int, bytes, bytes]) -> DeadLetter:
    subject, number, block, body = message
    headers = envelope.read_block(block)
    at = headers.get(envelope.SEQUENCE, "0")
    received = envelope.read(
        f"{subjects.LANES}.{subject.removeprefix('dl.')}", headers, body, sequence=int(at) if at.isdigit() else 0
    )
    return DeadLetter(number, received, headers.get(envelope.REASON, "unknown"))
