"""Claims of keys: written by compare-and-set, and followed by every ingress before they are said to hold."""

from __future__ import annotations

import asyncio
import base64
import math
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from valhalla.kernel.problems import Unavailable
from valhalla.sandbox.routing import kinds, subjects
from valhalla.sandbox.routing.contracts import ROUTES_STREAM, Claimed, Laggards, Record, Terms, Unread
from valhalla.sandbox.routing.errors import ClaimRefused
from valhalla.sandbox.routing.following import Following
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.lanes import drop_key, return_key
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.routing.roll import Kick, Roll
from valhalla.sandbox.routing.table import decode, encode

Owns = Callable[[], Awaitable[bool]]
"""Ask Postgres whether the sandbox holds the key now."""

GiveBack = Callable[[], Awaitable[None]]

_NO_MESSAGE: Final = 10037
_NOT_THE_LAST: Final = 10071
_ATTEMPTS: Final = 20
# a release need not be remembered for ever: without a record a key is production's as well
_RELEASED: Final = 3600
_LATE: Final = 1000


class Claims:
    """Writes what ingresses do. ``barrier`` is how long they have to follow, in seconds."""

    def __init__(
        self, url: str, creds: str, kick: Kick, *, barrier: float = 0.5, tls: ssl.SSLContext | None = None
    ) -> None:
        self._url = url
        self._creds = creds
        self._tls = tls
        self._kick = kick
        self._barrier = barrier
        self._link: Link | None = None
        self._roll: Roll | None = None
        self._heard: dict[str, int] = {}
        self._routes: Following | None = None
        self._opening = asyncio.Lock()
        self.fenced = 0
        self.refused = 0
        self.late: deque[tuple[str, Laggards]] = deque(maxlen=_LATE)
        """Ingresses that did not follow in time and what came of it, until somebody has told of them."""

    async def connected(self) -> tuple[Link, Roll]:
        """Return a connection and a roll that has missed nothing.

        Raises:
            Unavailable: NATS cannot be reached.
        """
        async with self._opening:
            if self._link is None or self._roll is None or not self._roll.is_current:
                if self._link is not None:
                    self._link.abort()
                self._link = await Link.open(self._url, self._creds, name="valhalla claims", tls=self._tls)
                self._roll = Roll(self._link, self._kick)
                await self._roll.start()
                self._heard = {}
                self._routes = Following(self._link, ROUTES_STREAM, f"{subjects.ROUTES}.>", self._hear)
                try:
                    await self._routes.start()
                except ApiError as error:
                    raise Unavailable("nats", f"the routes cannot be read: {error}") from error
            return self._link, self._roll

    def _hear(self, subject: str, _block: bytes | None, body: bytes, sequence: int) -> None:
        if body:
            self._heard[subject] = max(sequence, self._heard.get(subject, 0))
        else:
            # the server's marker at a record's end: most keys are never claimed again
            self._heard.pop(subject, None)

    async def establish(
        self, kind: str, key: str, sandbox: str, *, until: datetime, terms: Terms, owns: Owns
    ) -> Claimed | None:
        """Let a sandbox have a key's events; every ingress follows when this returns. None: it does not own the key.

        Raises:
            ClaimRefused: an ingress did not follow, and ``terms`` say that this refuses the claim.
            Unavailable: NATS cannot be asked; the claim may hold already, so repeat it.
        """
        started = time.monotonic()
        ends = until.timestamp()
        wanted = Record(kind, sandbox, terms.mode, terms.sample, until=ends)

        async def decide(present: Record | None) -> Record | None:
            return wanted if await owns() else None

        give_back = await self._hold_or_refuse(kind, key, wanted, owns) if terms.laggards == "refuse" else None
        epoch = await self._write(kind, key, decide, blindly=True)
        if epoch is None:
            if give_back is not None:
                # somebody took it in between: ingresses must not keep its events for nobody
                await give_back()
            return None
        count, fenced = await self._follow(epoch, "fence")
        return Claimed(kind, key, sandbox, epoch, _since(started), count, fenced)

    async def release(self, kind: str, key: str, sandbox: str, *, unread: Unread, owns: Owns) -> Claimed | None:
        """Give a key back to production, with what of its events the sandbox has not read.

        None: the sandbox has it not, or has it again.

        Raises:
            Unavailable: NATS cannot be asked; repeat it.
        """
        started = time.monotonic()

        async def decide(present: Record | None) -> Record | None:
            if present is None or await owns():
                return None
            if present.sandbox is None and not present.held:
                # an earlier attempt wrote it, and may not have waited until it was followed
                return present
            return Record(kind) if present.sandbox == sandbox else None

        async def hold(present: Record | None) -> Record | None:
            kept = await decide(present)
            return None if kept is None or present is None else Record(kind, sandbox, present.mode, held=True)

        if unread == "return":
            held = await self._write(kind, key, hold)
            if held is not None:
                await self._follow(held, "fence")
                link, _ = await self.connected()
                await return_key(link, sandbox, kinds.source_of(kind), key)
        epoch = await self._write(kind, key, decide)
        if epoch is None:
            return None
        count, fenced = await self._follow(epoch, "fence")
        if unread == "drop":
            link, _ = await self.connected()
            await drop_key(link, sandbox, kinds.source_of(kind), key)
        return Claimed(kind, key, None, epoch, _since(started), count, fenced)

    async def unhold(self, kind: str, key: str) -> bool:
        """Give a key back that is held for nobody; False when it is not.

        Raises:
            Unavailable: NATS cannot be asked; repeat it.
        """

        async def decide(present: Record | None) -> Record | None:
            return Record(kind) if present is not None and present.held and present.sandbox is None else None

        return await self._write(kind, key, decide) is not None

    async def _hold_or_refuse(self, kind: str, key: str, wanted: Record, owns: Owns) -> GiveBack | None:
        """Keep the key's events at the ingresses, so that nothing has moved if one of them does not answer.

        Returns what ends the hold and leaves everything as it was; None: the sandbox does not own the key.
        """
        former: Record | None = None
        held: Record | None = None

        async def hold(present: Record | None) -> Record | None:
            nonlocal former, held
            former = present
            if not await owns():
                return None
            before = present or Record(kind)
            held = Record(kind, before.sandbox, before.mode, before.sample, held=True, until=wanted.until)
            return held

        async def undo(present: Record | None) -> Record | None:
            # another's hold is another's to end
            return (former or Record(kind)) if present is not None and present == held else None

        async def give_back() -> None:
            await self._write(kind, key, undo)

        epoch = await self._write(kind, key, hold)
        if epoch is None:
            return None
        _, roll = await self.connected()
        late = await roll.follow(epoch, within=self._barrier)
        if not late:
            return give_back
        self.refused += 1
        self.late.extend((ingress, "refuse") for ingress in late)
        await give_back()
        raise ClaimRefused(f"did not follow: {', '.join(sorted(late))}", ingresses=sorted(late))

    async def _follow(self, epoch: int, laggards: Laggards) -> tuple[int, tuple[str, ...]]:
        _, roll = await self.connected()
        late = await roll.follow(epoch, within=self._barrier)
        if late:
            self.fenced += len(late)
            self.late.extend((ingress, "fence") for ingress in late)
            left = await roll.cut_off(epoch, late)
            if left:
                raise Unavailable("nats", f"cannot tell whether these ingresses still publish: {', '.join(left)}")
        return len(roll), tuple(late)

    async def _write(
        self,
        kind: str,
        key: str,
        decide: Callable[[Record | None], Awaitable[Record | None]],
        *,
        blindly: bool = False,
    ) -> int | None:
        """Store what ``decide`` makes of the present record, if nobody has changed it meanwhile; return its epoch.

        ``blindly``: it does not look at the record, so the last sequence that was heard will do to begin with. It was
        the last one before ``decide`` is asked, or the stream refuses the write.
        """
        subject = f"{subjects.ROUTES}.{subjects.address(kinds.source_of(kind), key)}"
        for attempt in range(_ATTEMPTS):
            link, _ = await self.connected()
            if blindly and attempt == 0:
                sequence, present = self._heard.get(subject, 0), None
            else:
                sequence, present = await self._last(link, subject)
            record = await decide(present)
            if record is None:
                return None
            if record is present:
                return sequence
            left = record.until - time.time() if record.sandbox is not None else _RELEASED
            headers = {
                "Nats-Expected-Last-Subject-Sequence": str(sequence),
                "Nats-TTL": f"{max(1, math.ceil(left))}s",
            }
            try:
                body = encode(record)
                epoch = await link.store(subject, body, headers=headers)
                self._hear(subject, None, body, epoch)
                return epoch
            except ApiError as error:
                if error.code != _NOT_THE_LAST:
                    raise Unavailable("nats", f"the claim cannot be stored: {error}") from error
        raise Unavailable("nats", "others change this key all the time")

    async def _last(self, link: Link, subject: str) -> tuple[int, Record | None]:
        try:
            answer = await link.api(f"STREAM.MSG.GET.{ROUTES_STREAM}", {"last_by_subj": subject})
        except ApiError as error:
            if error.code == _NO_MESSAGE:
                return 0, None
            raise Unavailable("nats", f"the routes cannot be read: {error}") from error
        message = answer["message"]
        return int(message["seq"]), decode(base64.b64decode(message.get("data", "")))

    async def close(self) -> None:
        """Close the connection within a second."""
        if self._link is not None:
            await self._link.close()


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
