"""An ingress: whoever holds events and puts each on the lane of its key.

It may publish for half a second after it sent a heartbeat that was stored. When that is over, or it may have missed a
change of routes, it gives its connection up and joins anew: first a heartbeat (from then on claims wait for it),
then all routes, and only then events (docs/adr/0016).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec

from valhalla.kernel.problems import Misconfigured, Problem, Unavailable
from valhalla.kit import trace
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff, first_of
from valhalla.sandbox.routing import subjects
from valhalla.sandbox.routing.contracts import BEAT, LEASE, ROUTES_STREAM, STREAM, Event
from valhalla.sandbox.routing.errors import EventsFull, Fenced
from valhalla.sandbox.routing.following import Following
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.items import Stored
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.routing.outgoing import Outgoing
from valhalla.sandbox.routing.table import RouteTable

_log = get_logger("sandbox.routing.ingress")
# a machine that was asleep has not proven anything meanwhile; the common monotonic clock stands still then
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_encode: Final = msgspec.json.Encoder().encode


class Beat(msgspec.Struct, frozen=True):
    """What an ingress says of itself: up to which epoch it routes, and where its connection can be closed."""

    epoch: int = 0
    server: str = ""
    cid: int = 0
    gone: bool = False


class Ingress:
    """One ingress of one process. ``name`` says whose it is; its id is unique among all that ever ran.

    ``window`` events are sent and unacknowledged at most, ``spool`` wait at most while none can be sent. ``tls`` is
    who is trusted where ``url`` is ``tls://``: what ``valhalla.kit.natstls.trust`` makes of files.
    """

    def __init__(
        self,
        url: str,
        creds: str,
        *,
        name: str = "ingress",
        window: int = 2000,
        spool: int = 20_000,
        outgoing: Outgoing | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.id = f"{subjects.check_source(name)}-{secrets.token_hex(6)}"
        self._url = url
        self._creds = creds
        self._tls = tls
        self.outgoing = outgoing or Outgoing(window=window, spool=spool)
        self.outgoing.on_epoch = self._soon
        self._link: Link | None = None
        self._lease_until = 0.0
        self._beats: dict[str, float] = {}
        self._number = 0
        self._live = asyncio.Event()
        self._hopeless = asyncio.Event()
        self._fault: Problem | None = None
        self._stopping = False
        self._beating = False
        self._task: asyncio.Task[None] | None = None
        self._beat_prefix = ""
        self.joined = 0
        self.fenced = 0
        self.last_error: str | None = None
        self.on_live: Callable[[], None] = lambda: None

    @property
    def is_live(self) -> bool:
        """Whether it may publish now."""
        return self._live.is_set() and _now() < self._lease_until

    @property
    def table(self) -> RouteTable:
        """The routes as it knows them; only while it is live they are the present ones."""
        return self.outgoing.table

    async def start(self, *, wait: float = 5.0) -> None:
        """Join and go on joining whenever it must; waits up to ``wait`` seconds for the first time.

        Raises:
            Unavailable: it has not joined in time; it goes on trying.
            Misconfigured: so does it then, but no waiting helps: one side wants TLS and the other has none, say.
        """
        self._task = asyncio.create_task(self._run(), name=f"ingress {self.id}")
        await first_of(self._live, self._hopeless, seconds=wait)
        if self._live.is_set():
            return
        fault = self._fault
        if isinstance(fault, Misconfigured):
            raise fault
        reason = f"the ingress has not joined: {self.last_error or 'nats is silent'}"
        raise Unavailable("nats", reason, help=None if fault is None else fault.advice)

    async def publish(self, event: Event) -> Stored:
        """Publish one event and return where it was stored; waits while it cannot.

        Raises:
            EventInvalid, EventTooLarge: it cannot be routed.
            Fenced: too many wait already.
        """
        future: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self.outgoing.post(event, future)
        return await future

    async def post(self, event: Event) -> None:
        """Queue one event; waits only while too many are under way. ``flush`` says when all are stored.

        Raises:
            EventInvalid, EventTooLarge: it cannot be routed.
            Fenced: too many wait already.
        """
        await self.outgoing.room()
        self.outgoing.post(event)

    async def flush(self, *, within: float = 30.0) -> None:
        """Wait until everything that was queued is stored; ``within`` in seconds.

        Raises:
            Fenced, EventsFull: it has not been, in this time.
        """
        try:
            async with asyncio.timeout(within):
                await self.outgoing.flushed()
        except TimeoutError as error:
            if self.outgoing.is_full:
                raise EventsFull(f"{len(self.outgoing)} events wait until the stream has room") from error
            raise Fenced(f"{len(self.outgoing)} events are not stored yet") from error

    def traced(self, event: Event) -> Event:
        """Return the event with the trace of the code that runs, if it has none."""
        current = trace.current()
        if event.traceparent is not None or current is None:
            return event
        return replace(event, traceparent=trace.render(current))

    async def stop(self, *, patience: float = 2.0) -> None:
        """Store what is queued, up to ``patience`` seconds, and say goodbye: no claim waits for it any more."""
        with contextlib.suppress(Fenced, EventsFull):
            await self.flush(within=patience)
        self._stopping = True
        link = self._link
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._halt()
        self.outgoing.abandon()
        if link is not None and link.is_open:
            link.before_flush = lambda: True
            with contextlib.suppress(ApiError, Unavailable):
                await link.store(f"{subjects.BEATS}.{self.id}", _encode(Beat(gone=True)), timeout=1)
            await link.close()

    # --- joining

    async def _run(self) -> None:
        backoff = Backoff(0.05, 2.0)
        while not self._stopping:
            try:
                await self._session(backoff)
                self.last_error = "the connection was lost" if self._link is None else self._link.reason
            except (Problem, ApiError) as error:
                self.last_error = error.detail if isinstance(error, Problem) else str(error)
                self._fault = error if isinstance(error, Problem) else None
                if isinstance(error, Misconfigured):
                    self._hopeless.set()
            if self._live.is_set():
                self.fenced += 1
                _log.warning("an ingress joins anew", ingress=self.id, reason=self.last_error)
            self._halt()
            if self._link is not None:
                self._link.abort()
            await asyncio.sleep(backoff.next())

    def _halt(self) -> None:
        self._live.clear()
        self._lease_until = 0.0
        self.outgoing.halt()

    async def _session(self, backoff: Backoff) -> None:
        self._lease_until = 0.0
        link = self._link = await Link.open(self._url, self._creds, name=f"valhalla {self.id}", tls=self._tls)
        link.before_flush = self._may_write
        self._beats.clear()
        self._beat_prefix = f"{link.inbox}.b."
        link.subscribe(f"{self._beat_prefix}*", self._beat_stored)
        # a server that has just started takes events a moment later than it answers
        await link.api(f"STREAM.INFO.{STREAM}")
        sent = _now()
        # from here on claims wait for this ingress; whatever was claimed before, the routes read next hold
        await link.store(f"{subjects.BEATS}.{self.id}", self._said(link))
        self._lease_until = sent + LEASE
        table = RouteTable()

        def heard(subject: str, _block: bytes | None, body: bytes, epoch: int) -> None:
            where = table.apply(subject, body, epoch)
            if table is self.outgoing.table and where is not None:
                self.outgoing.changed(where, epoch)

        following = Following(link, ROUTES_STREAM, f"{subjects.ROUTES}.>", heard)
        await following.start()
        await self._beating_until(following.complete, link)
        if not following.complete.is_set() or not following.is_current:
            raise Unavailable("nats", "the routes did not come in time")
        self._live.set()
        self.joined += 1
        backoff.reset()
        self.outgoing.begin(link, table)
        self._beat()
        self.on_live()
        while link.is_open and following.is_current and self._may_write() and not self.outgoing.is_stuck:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await link.closed.wait()
            self._beat()
        if following.lost is not None:
            link.reason = following.lost

    async def _beating_until(self, ready: asyncio.Event, link: Link) -> None:
        for _ in range(100):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await ready.wait()
            if ready.is_set() or not link.is_open:
                return
            self._beat()

    # --- the lease

    def _may_write(self) -> bool:
        return not self._lease_until or _now() < self._lease_until

    def _said(self, link: Link) -> bytes:
        return _encode(Beat(self.outgoing.epoch, link.server, link.cid))

    def _soon(self) -> None:
        if not self._beating:
            self._beating = True
            asyncio.get_running_loop().call_soon(self._beat)

    def _beat(self) -> None:
        self._beating = False
        link = self._link
        if link is None or not link.is_open or not self._lease_until:
            return
        self._number += 1
        reply = f"{self._beat_prefix}{self._number}"
        self._beats[reply] = _now()
        link.publish(f"{subjects.BEATS}.{self.id}", self._said(link), reply=reply)

    def _beat_stored(self, subject: str, _reply: str | None, block: bytes | None, body: bytes) -> None:
        sent = self._beats.pop(subject, None)
        # one that was sent after the lease had ended does not renew it: claims may not have waited in between
        if sent is not None and sent < self._lease_until and block is None and b'"error"' not in body:
            self._lease_until = max(self._lease_until, sent + LEASE)


def _now() -> float:
    return time.clock_gettime(_CLOCK)
