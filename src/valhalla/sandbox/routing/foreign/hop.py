"""A router of one source: takes parts of its stream and puts each event on the lane of its key, as an ingress does.

It keeps the order of a key and doubles nothing, whoever dies: each router that has a part publishes every message
from the first on that is not acknowledged, in order, under ids made of the stream and the sequence. Two that have the
same part for a moment publish the same, and the stream of lanes keeps the first of each.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import ssl
from collections.abc import Callable, Mapping
from typing import Final

from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff, first_of
from valhalla.sandbox.routing import kinds, subjects
from valhalla.sandbox.routing.contracts import Event, Sizes
from valhalla.sandbox.routing.envelope import MSG_ID, REASON, read_block
from valhalla.sandbox.routing.errors import EventInvalid
from valhalla.sandbox.routing.foreign import hop_stream, patterns
from valhalla.sandbox.routing.foreign.contracts import PARTITIONS, EventSource
from valhalla.sandbox.routing.foreign.others import Others
from valhalla.sandbox.routing.foreign.part import Deliver, Part, Taken
from valhalla.sandbox.routing.foreign.suspects import already_stored
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.sandbox.routing.items import Answer
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.routing.outgoing import Outgoing
from valhalla.sandbox.routing.table import RouteTable

_log = get_logger("sandbox.routing.hop")
_TURN: Final = 0.1
_TRIM: Final = 100
_DEAD: Final = f"{subjects.DEAD}.h"
_MEDIA: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}")
_OPAQUE: Final = "application/octet-stream"
_NOTHING: Final[Mapping[str, str]] = {}


class Unspooled(Outgoing):
    """Ends when its ingress loses its place: what is not stored then the source's stream has, in order."""

    is_over = False
    _has_begun = False

    def begin(self, link: Link, table: RouteTable) -> None:
        """Send over a connection, the first one only."""
        if not self.is_over:
            self._has_begun = True
            super().begin(link, table)

    def post(self, event: Event, future: Answer | None = None) -> None:
        """Queue one event; what comes after the end would overtake what was dropped."""
        if not self.is_over:
            super().post(event, future)

    def halt(self) -> None:
        """Send nothing any more, and nothing of it later."""
        super().halt()
        self.is_over = self._has_begun
        if self.is_over:
            self._waiting.clear()


class Hop:
    """One source's router in one process. ``creds`` are for the source's account, ``control`` for event routing."""

    def __init__(
        self,
        source: EventSource,
        url: str,
        *,
        creds: str,
        control: str,
        sizes: Sizes,
        clock: Clock | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.source = source
        self.stream = hop_stream.name_of(source)
        self.parts: dict[int, Part] = {}
        self.buried = 0
        self.sessions = 0
        self.last_error: str | None = None
        self._moved = 0
        self._url = url
        self._tls = tls
        self._creds = creds
        self._control = control
        self._sizes = sizes
        self._clock = clock or Clock()
        self._origin = kinds.source_of(source.kind)
        self._reader = patterns.Reader(patterns.parse(source.subject))
        self._generation = ""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def moved(self) -> int:
        """How many events it has put on lanes."""
        return self._moved + sum(part.moved for part in self.parts.values())

    @property
    def lag(self) -> int:
        """How many events of its parts wait in the source's stream."""
        return sum(part.lag for part in self.parts.values())

    async def run(self, stop: asyncio.Event) -> None:
        """Route until ``stop`` is set; then what is under way is stored and acknowledged first."""
        backoff = Backoff(0.05, 2.0)
        while not stop.is_set():
            try:
                await self._session(stop, backoff)
            except (Problem, ApiError) as error:
                self.last_error = error.detail if isinstance(error, Problem) else str(error)
                _log.warning("a router begins anew", source=self.source.name, reason=self.last_error)
                await first_of(stop, seconds=backoff.next())

    async def _session(self, stop: asyncio.Event, backoff: Backoff) -> None:
        outgoing = Unspooled(window=2000, spool=2 * hop_stream.PENDING * PARTITIONS)
        named = f"hop-{self.source.name}"
        ingress = Ingress(self._url, self._control, name=named, outgoing=outgoing, tls=self._tls)
        async with contextlib.AsyncExitStack() as held:
            name = f"valhalla router {self.source.name}"
            link = await Link.open(self._url, self._creds, name=name, tls=self._tls)
            held.push_async_callback(link.close)
            control = await Link.open(self._url, self._control, name="valhalla router", tls=self._tls)
            held.push_async_callback(control.close)
            now = self._clock.now()
            self._generation = await hop_stream.ensure(link, self.source, self._sizes, now=now)
            held.push_async_callback(ingress.stop, patience=0)
            await ingress.start()
            others = Others(control, ingress.id)
            await others.start()
            held.callback(self._forget)
            self.sessions += 1
            backoff.reset()
            turn = 0
            while not stop.is_set():
                if outgoing.is_over or not (link.is_open and ingress.is_live and others.is_current):
                    raise Unavailable("nats", f"its place was lost: {ingress.last_error or link.reason}")
                await self._share(link, control, ingress, others)
                turn += 1
                if turn % _TRIM == 0 and 0 in self.parts:
                    await hop_stream.trim(link, self.stream)
                await first_of(stop, link.closed, seconds=_TURN)
            await self._leave(ingress)

    def _forget(self) -> None:
        for part in self.parts.values():
            self._moved += part.moved
        self.parts.clear()

    async def _leave(self, ingress: Ingress) -> None:
        """Store and acknowledge what is under way; nobody else has to do it again."""
        for part in self.parts.values():
            part.close()
        with contextlib.suppress(Problem):
            await ingress.flush(within=5)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for part in self.parts.values():
            part.acknowledge()

    # --- parts

    async def _share(self, link: Link, control: Link, ingress: Ingress, others: Others) -> None:
        mine = set(patterns.shares(others.present(), ingress.id))
        for number, part in list(self.parts.items()):
            part.acknowledge()
            part.pull()
            if number not in mine:
                part.close()
            if part.lost is not None or (number not in mine and part.is_empty):
                part.acknowledge()
                self._moved += part.moved
                del self.parts[number]
        missing = sorted(mine - self.parts.keys())
        if not missing:
            return
        found = await hop_stream.positions(link, self.stream)
        # a name of its own each time: by an old one's end one knows that the part is another's
        owner = f"{ingress.id.rpartition('-')[2]}{secrets.token_hex(3)}"
        for number in missing:
            position = found.get(number, hop_stream.Position())
            skip = await self._suspects(link, control, number, position)
            consumer = await hop_stream.take(link, self.stream, number, owner, position)
            part = Part(link, self.stream, number, consumer, self._post_to(link, ingress), self._bury_with(control))
            part.skip = skip
            self.parts[number] = part

    async def _suspects(self, link: Link, control: Link, number: int, position: hop_stream.Position) -> set[int]:
        """Return what is stored and not acknowledged, where the stream of lanes may have forgotten its ids."""
        fresh = position.at is not None and self._clock.now() - position.at < self._sizes.dedup / 2
        if position.sent <= position.stored or fresh:
            return set()
        return await already_stored(
            link,
            control,
            self.stream,
            patterns.part_filter(number),
            position,
            self._reader,
            self._origin,
            self._generation,
        )

    # --- events

    def _post_to(self, link: Link, ingress: Ingress) -> Deliver:
        outgoing, reader, origin, generation = ingress.outgoing, self._reader, self._origin, self._generation

        def post(taken: Taken, block: bytes | None) -> None:
            try:
                found = reader.read(taken.subject)
                given = _NOTHING if block is None else read_block(block)
                event = Event(
                    origin,
                    found.key,
                    found.type,
                    taken.body,
                    f"{generation}x{taken.sequence}",
                    content_type=_media(given, taken.body),
                    traceparent=given.get("traceparent"),
                    baggage=given.get("baggage"),
                    extensions={"natssubject": found.subject} if found.subject else _NOTHING,
                )
                outgoing.post(event, taken)
            except EventInvalid as problem:
                taken.set_exception(problem)
            except Unavailable as problem:
                link.abort(problem.detail)

        return post

    def _bury_with(self, control: Link) -> Callable[[Taken], None]:
        def bury(taken: Taken) -> None:
            task = asyncio.create_task(self._bury(control, taken))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return bury

    async def _bury(self, control: Link, taken: Taken) -> None:
        """Keep what has no lane with the dead letters; it counts as stored when it is there."""
        reason = str(taken.problem)[:300].encode("ascii", "replace").decode()
        headers = {MSG_ID: f"{self._generation}x{taken.sequence}", REASON: reason}
        try:
            await control.store(f"{_DEAD}.{self.source.name}", taken.body, headers=headers)
        except (ApiError, Unavailable) as error:
            # it is not acknowledged: nothing of its part goes on until the session begins anew
            control.abort(f"a dead letter could not be kept: {error}")
            return
        self.buried += 1
        _log.warning("an event has no lane", source=self.source.name, subject=taken.subject, reason=reason)
        taken.set_result(None)


def _media(given: Mapping[str, str], body: bytes) -> str:
    said = given.get("content-type")
    if said is not None:
        return said if _MEDIA.fullmatch(said) else _OPAQUE
    return "application/json" if body[:1] in (b"{", b"[") else _OPAQUE
