"""Event sources that are not ours, as the composition root sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sqlalchemy.engine import Connection

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit import natsauth
from valhalla.kit.log import get_logger
from valhalla.kit.registry import Registry
from valhalla.kit.waiting import first_of, unless
from valhalla.sandbox.routing.contracts import Sizes
from valhalla.sandbox.routing.feature import EventRouting
from valhalla.sandbox.routing.foreign import accounts, patterns
from valhalla.sandbox.routing.foreign.contracts import REGISTRY, EventSource
from valhalla.sandbox.routing.foreign.hop import Hop
from valhalla.sandbox.routing.foreign.hops import Hops
from valhalla.sandbox.routing.foreign.mapper import Mapper
from valhalla.sandbox.slices.nats import NatsSlice
from valhalla.work.loops import Loop, loop

if TYPE_CHECKING:
    from fastapi import APIRouter
    from prometheus_client.registry import Collector

_KEEPING: Final = loop("event-sources", 10.0, "lets publishers that are not ours follow the routes", patience=60)
_log = get_logger("sandbox.routing.foreign")


class EventSources(Feature):
    """The registry of sources, and the mappings of their accounts."""

    name: ClassVar[str] = "event-sources"

    def __init__(self, platform: Platform, url: str, routing: EventRouting, nats: NatsSlice) -> None:
        """Register the registry, and let routes take effect for its sources; nothing is connected yet."""
        self.db, self.cell, self.clock, self.url = platform.db, platform.cell, platform.clock, url
        self.registry: Registry[EventSource] = Registry(REGISTRY, EventSource, platform.ledger, validate=patterns.check)
        platform.feed.add(self.registry)
        self._feed, self._ledger = platform.feed, platform.ledger
        sizes = Sizes(max_age=platform.settings.events_kept)
        self.mapper = Mapper(
            platform.db, platform.cell, self.registry, nats.accounts, routing.claims, url, sizes, tls=routing.tls
        )
        self.hops = Hops(
            lambda source: Hop(
                source,
                url,
                creds=accounts.credentials(platform.cell, source, "account"),
                control=natsauth.control_creds(platform.cell),
                sizes=sizes,
                tls=routing.tls,
            )
        )
        routing.effects.foreign = self.mapper
        self._changed = asyncio.Event()
        self._beat = partial(platform.beat, _KEEPING.name)
        platform.feed.subscribe(REGISTRY, lambda _: self._changed.set())

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/event-sources``."""
        from valhalla.sandbox.routing.foreign.api import router

        return (router(self),)

    async def settle(self) -> None:
        """Let a change hold for its publishers before its request answers; what fails is tried again every 10 s."""
        await self._feed.refresh()
        try:
            await self.mapper.follow()
        except Problem as problem:
            _log.warning("publishers that are not ours do not follow yet", error=problem.detail)

    def note_issued(self, conn: Connection, principal: Principal, source: EventSource, role: str) -> None:
        """Write down who took credentials."""
        self._ledger.append(
            conn,
            actor=principal.id,
            action="credentials_issued",
            kind="event-source",
            subject=source.name,
            details={"role": role},
        )

    def background(self) -> Mapping[str, Run]:
        """Keep accounts as the routes are, whoever wrote them meanwhile."""
        return {"event-sources": self._run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_KEEPING,)

    def collectors(self) -> Sequence[Collector]:
        """Return the metrics of sources."""
        from valhalla.sandbox.routing.foreign.metrics import SourceMetrics

        return (SourceMetrics(self),)

    def status(self) -> Mapping[str, Any]:
        """Say what is mapped, and which accounts cannot be written."""
        mapped = sum(map(len, self.mapper.mapped.values()))
        moved = {"moved": self.hops.moved, "waiting": self.hops.lag}
        return {
            "mapped_keys": mapped,
            **moved,
            "faults": {name: one.detail for name, one in self.mapper.faults.items()},
        }

    async def _run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._beat()
            self._changed.clear()
            try:
                await unless(stop, self.mapper.follow())
                if not stop.is_set():
                    await self.hops.bring([one for one in await self.mapper.sources() if one.way == "mapping"])
            except Unavailable as problem:
                _log.warning("the mappings of event sources wait for a backend", error=problem.detail)
            except Exception:  # noqa: BLE001 - a loop that dies would leave mappings wrong for ever
                _log.exception("the mappings of event sources could not be brought right")
            await first_of(stop, self._changed, seconds=_KEEPING.times.interval)
        await self.hops.end()
