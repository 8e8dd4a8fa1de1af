"""Reading lanes and dead letters from outside a sandbox: pages, and following what comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from valhalla.kernel.problems import Unavailable
from valhalla.sandbox.routing import envelope, kinds, subjects
from valhalla.sandbox.routing.claims import Claims
from valhalla.sandbox.routing.contracts import DEAD_STREAM, STREAM, Received
from valhalla.sandbox.routing.errors import DeadLetterGone, EventInvalid
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.lags import lag_of
from valhalla.sandbox.routing.lanes import find_message, next_message

_LOOK: Final = 0.2
# what the server can count as nanoseconds
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
# a pattern is looked for among all events of its source: so many for one page
_SEARCHED: Final = 2000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a sandbox could not work on; ``number`` is its own, ``received.sequence`` the event's."""

    number: int
    received: Received
    reason: str


@dataclass(frozen=True, slots=True)
class Past:
    """A page; ``next`` is what the following page comes after, ``done`` says that nothing follows now."""

    items: list[Received]
    next: int
    done: bool


class Reader:
    """Reads over the connection of ``claims``, and so as the control plane."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims

    async def page(
        self,
        sandbox: str,
        *,
        after: int,
        limit: int,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Received]:
        """Return up to ``limit`` events of a lane, oldest first, behind a sequence or, if that is 0, ``since``.

        Nothing is acknowledged and no consumer asked: whoever works on the lane notices nothing.

        Raises:
            Unavailable: NATS does not answer.
        """
        return (await self._read(f"{subjects.lane(sandbox)}.>", after, limit, since, until)).items

    async def past(
        self, kind: str, key: str, *, after: int, limit: int, since: datetime | None, until: datetime | None = None
    ) -> Past:
        """Return up to ``limit`` events of a key that production has, as ``page`` does.

        Raises:
            Unavailable: NATS does not answer.
        """
        source = kinds.source_of(kind)
        if source == kinds.PATTERNS:
            wanted, pattern = f"{subjects.PRODUCTION}.{source}.>", key
        else:
            wanted, pattern = subjects.lane_of_key(None, subjects.address(source, key)), None
        return await self._read(wanted, after, limit, since, until, pattern)

    async def _read(
        self,
        wanted: str,
        after: int,
        limit: int,
        since: datetime | None,
        until: datetime | None,
        pattern: str | None = None,
    ) -> Past:
        link, _ = await self._claims.connected()
        since = None if since is None else min(max(since, _EARLIEST), _LATEST)
        found, position, start = list[Received](), after, since if after == 0 else None
        for _ in range(max(limit, _SEARCHED)):
            message = await find_message(link, STREAM, wanted, sequence=position + 1, since=start)
            if message is None or (until is not None and message.stored_at is not None and message.stored_at >= until):
                return Past(found, position, True)
            subject, position, block, body, at = message
            start = None
            # an instant is asked for in milliseconds, and a server before 2.11 knows none
            if since is not None and at is not None and at < since:
                continue
            # what somebody else put into our tree is passed over
            with contextlib.suppress(EventInvalid):
                event = envelope.read(subject, envelope.read_block(block), body, sequence=position, stored_at=at)
                if pattern is None or kinds.matches(pattern, event.event.key):
                    found.append(event)
            if len(found) == limit:
                break
        return Past(found, position, False)

    async def follow(
        self, sandbox: str, *, after: int, until: asyncio.Event, since: datetime | None = None
    ) -> AsyncIterator[Received | None]:
        """Yield events of a lane behind a sequence as they come, and None about every 10 s without one."""
        quiet = 0.0
        while not until.is_set():
            found = await self.page(sandbox, after=after, limit=200, since=since)
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
        lag = await lag_of(link, sandbox)
        return {name: getattr(lag, name) for name in ("waiting", "unacknowledged", "redelivered")}

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
