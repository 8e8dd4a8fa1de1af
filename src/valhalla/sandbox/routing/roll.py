"""The roll of ingresses: who may publish now, who follows which epoch, and how one that does not answer is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from valhalla.kernel.problems import Unavailable
from valhalla.kit.log import get_logger
from valhalla.sandbox.routing import subjects
from valhalla.sandbox.routing.contracts import BEATS_STREAM, LEASE
from valhalla.sandbox.routing.following import Following
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.ingress import Beat
from valhalla.sandbox.routing.link import Link

Kick = Callable[[str, int], Awaitable[bool]]
"""Close a connection at the server; True when it is closed, or was before."""

_log = get_logger("sandbox.routing.roll")
_decode: Final = msgspec.json.Decoder(Beat).decode
# a lease, and half a second for what the server has and this process has not heard yet, twice over
_SILENT: Final = 2 * (LEASE + 0.5)
_READ: Final = 0.02


@dataclass(slots=True)
class _Seen:
    beat: Beat
    at: float
    cut: bool = False


class Roll:
    """What one claimer knows of the ingresses, over one connection; when it has missed something it is of no use."""

    def __init__(self, link: Link, kick: Kick) -> None:
        self._link = link
        self._kick = kick
        self._seen: dict[str, _Seen] = {}
        self._heard = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._following = Following(link, BEATS_STREAM, f"{subjects.BEATS}.*", self._note)

    async def start(self) -> None:
        """Read who is there.

        Raises:
            Unavailable: NATS does not tell.
        """
        try:
            await self._following.start()
            async with asyncio.timeout(2):
                await self._following.complete.wait()
        except (ApiError, TimeoutError) as error:
            raise Unavailable("nats", f"nats does not say which ingresses there are: {error}") from error

    @property
    def is_current(self) -> bool:
        """Whether it has missed nothing."""
        return self._link.is_open and self._following.is_current

    def __len__(self) -> int:
        return sum(1 for one in self._seen.values() if not one.cut and self._loop.time() - one.at < _SILENT)

    def _note(self, subject: str, _block: bytes | None, body: bytes, _sequence: int) -> None:
        try:
            beat = _decode(body)
        except msgspec.DecodeError:
            return
        ingress = subject.partition(".")[2]
        if beat.gone:
            self._seen.pop(ingress, None)
        else:
            known = self._seen.get(ingress)
            # what a closed connection had stored may be heard late
            cut = known is not None and known.cut and (known.beat.server, known.beat.cid) == (beat.server, beat.cid)
            self._seen[ingress] = _Seen(beat, self._loop.time(), cut)
        self._heard.set()

    def _behind(self, epoch: int) -> list[str]:
        now = self._loop.time()
        for ingress in [name for name, one in self._seen.items() if now - one.at > 60]:
            del self._seen[ingress]
        return [
            ingress
            for ingress, one in self._seen.items()
            if one.beat.epoch < epoch and not one.cut and now - one.at < _SILENT
        ]

    async def follow(self, epoch: int, *, within: float) -> list[str]:
        """Wait until every ingress follows ``epoch``, which is stored; return those that did not ``within`` seconds.

        Raises:
            Unavailable: nobody can say who is there.
        """
        try:
            # whoever joined before the epoch was stored is in the stream by now; who joins later reads the epoch
            state = (await self._link.api(f"STREAM.INFO.{BEATS_STREAM}"))["state"]
        except ApiError as error:
            raise Unavailable("nats", f"nats does not say which ingresses there are: {error}") from error
        try:
            async with asyncio.timeout(within):
                while self._following.sequence < int(state["last_seq"]) and int(state["messages"]):
                    await self._next()
                while self._behind(epoch):
                    await self._next()
        except TimeoutError:
            if self._following.sequence < int(state["last_seq"]) and int(state["messages"]):
                raise Unavailable("nats", "nats does not say in time which ingresses there are") from None
        return self._behind(epoch)

    async def _next(self) -> None:
        if not self.is_current:
            raise Unavailable("nats", "the connection to nats was lost while ingresses were waited for")
        self._heard.clear()
        try:
            async with asyncio.timeout(0.1):
                await self._heard.wait()
        except TimeoutError:
            # what goes silent counts no more, which nobody tells
            return

    async def cut_off(self, epoch: int, late: list[str]) -> list[str]:
        """Close the connections of ingresses that do not follow; returns those that may still publish.

        Where the server cannot be asked, their silence is waited for: an ingress that beats no more may not publish.
        """
        for ingress in late:
            one = self._seen.get(ingress)
            if one is None or one.beat.epoch >= epoch:
                continue
            if await self._kick(one.beat.server, one.beat.cid):
                _log.warning("an ingress was cut off", ingress=ingress, epoch=epoch, server=one.beat.server)
                now = self._seen.get(ingress)
                if now is not None and (now.beat.server, now.beat.cid) == (one.beat.server, one.beat.cid):
                    now.cut = True
        # what the server had read before it closed them is stored by then
        await asyncio.sleep(_READ)
        return await self.follow(epoch, within=_SILENT + 0.5) if self._behind(epoch) else []
