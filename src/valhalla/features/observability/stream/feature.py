"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.observability.stream.contracts import Bounds
from valhalla.features.observability.stream.hub import Hub
from valhalla.features.observability.stream.reader import Reader
from valhalla.features.operations.clients import Clients
from valhalla.kit.changes import Snapshot
from valhalla.work.loops import Loop, loop

if TYPE_CHECKING:
    from fastapi import APIRouter
    from prometheus_client.registry import Collector

_LOOP = loop("live-events", 10.0, "reads what happened for who listens")


class LiveEvents(Feature):
    """What happens, told to who may know it."""

    name: ClassVar[str] = "events"

    def __init__(self, platform: Platform, clients: Clients, bounds: Bounds | None = None) -> None:
        self._db = platform.db
        self._feed = platform.feed
        self._clients = clients
        self.hub = Hub(bounds or Bounds(), lambda: self._feed.status()["revisions"])
        self.reader = Reader(platform.db, self.hub, self.hub.bounds)
        self.reader.beat = partial(platform.beat, _LOOP.name)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/events`` and ``/ws``."""
        from valhalla.features.observability.stream.api import router
        from valhalla.features.observability.stream.knowing import Knowing

        return (router(self.hub, self._db, Knowing(self._clients)),)

    def background(self) -> Mapping[str, Run]:
        """Return what reads."""
        return {"live-events": self.reader.run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_LOOP,)

    def collectors(self) -> Sequence[Collector]:
        """Return the metrics."""
        from valhalla.features.observability.stream.metrics import StreamMetrics

        return (StreamMetrics(self.hub),)

    def status(self) -> Mapping[str, Any]:
        """Return who listens."""
        return {"streams": len(self.hub.listeners), "told": self.hub.told, "dropped": dict(self.hub.dropped)}

    async def start(self) -> None:
        """Hear of every registry, from what is current now on."""
        for name in self._feed.status()["revisions"]:
            self._feed.subscribe(name, self._changed)

    def _changed(self, snapshot: Snapshot[Any]) -> None:
        if self.hub.listeners:
            self.hub.registry_changed(snapshot.registry, snapshot.revision)
            if snapshot.registry == self._clients.service.registry.name:
                self.hub.recheck()

    def drain(self) -> None:
        """End every stream: whoever listens comes again, to a process that stays."""
        self.hub.close()

    async def stop(self) -> None:
        """End what is left."""
        self.hub.close()
