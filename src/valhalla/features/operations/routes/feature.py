"""The feature as the composition root sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.operations.clients import Clients
from valhalla.features.operations.limits import RateLimits
from valhalla.features.operations.limits.rules import Request
from valhalla.features.operations.routes import boots
from valhalla.features.operations.routes.contracts import Served
from valhalla.features.operations.routes.index import Index
from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff, first_of
from valhalla.version import VERSION

if TYPE_CHECKING:
    from fastapi import APIRouter

_log = get_logger("routes")


class Routes(Feature):
    """The index of what is served; ``serve`` is called by who puts the application together."""

    name: ClassVar[str] = "routes"

    def __init__(self, platform: Platform, clients: Clients, limits: RateLimits) -> None:
        self._db = platform.db
        self._clients = clients
        self._limits = limits
        self._registry = boots.route_registry(platform.ledger)
        self._served = asyncio.Event()
        self._index: Index | None = None
        self.compared = asyncio.Event()
        """Set when the difference to the last boot is written."""

    def serve(self, served: Served) -> None:
        """Take the application that is served now.

        Raises:
            ValueError: a route is mounted twice: the boot ends here.
        """
        self._index = Index(served, lambda: self._limits.view.value, self._explain)
        self._served.set()

    @property
    def index(self) -> Index:
        """What is served.

        Raises:
            Problem: nothing is, yet.
        """
        if self._index is None:
            raise Problem("no application is served by this runtime")
        return self._index

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/routes``."""
        from valhalla.features.operations.routes.api import router

        return (router(lambda: self.index, self._registry, self._db, self._clients.find_principal),)

    def background(self) -> Mapping[str, Run]:
        """Return what compares with the last boot, once."""
        return {"routes.boot": self._compare}

    async def _compare(self, stop: asyncio.Event) -> None:
        """Wait for the application, which is put together around a runtime that runs or does not run yet."""
        while not await first_of(self._served, stop, seconds=3600.0):
            pass
        backoff = Backoff(1.0, 60.0)
        while not stop.is_set():
            try:
                found = await self._db.run(boots.note_boot, self._registry, VERSION, self.index.routes)
            except Unavailable as problem:
                _log.warning("routes are compared later", error=problem.detail)
                await first_of(stop, seconds=backoff.next())
                continue
            self.compared.set()
            if found:
                told = {"added": len(found.added), "removed": len(found.removed), "changed": len(found.changed)}
                _log.info("other routes are served than at the last boot", **told)
            return

    def _explain(self, request: Request) -> Mapping[str, Any]:
        counting = self._limits.counting
        return {"verdicts": []} if counting is None else counting.explain(request)
