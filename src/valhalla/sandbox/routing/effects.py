"""What follows from routes that Postgres has: claims that ingresses follow, lanes that are opened and closed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from valhalla.kit.db import Database
from valhalla.kit.histogram import Histogram
from valhalla.sandbox import store
from valhalla.sandbox.contracts import Route, Sandbox
from valhalla.sandbox.errors import NotRunning
from valhalla.sandbox.routing import kinds
from valhalla.sandbox.routing.claims import Claims, Owns
from valhalla.sandbox.routing.contracts import Laggards, Terms, Unread
from valhalla.sandbox.routing.lanes import open_lane


class Foreign(Protocol):
    """What follows for publishers that are not ours."""

    async def check(self, routes: Sequence[Route]) -> None:
        """Refuse routes that cannot hold for them."""
        ...

    async def follow(self, routes: Sequence[Route], *, released: bool = False) -> None:
        """Let these routes hold for them, or hold no more, as they are in the registry and on the ingresses now."""
        ...


class NoForeign:
    """Where there are no such publishers."""

    async def check(self, routes: Sequence[Route]) -> None:
        """Accept everything."""

    async def follow(self, routes: Sequence[Route], *, released: bool = False) -> None:
        """Do nothing."""


class Routing:
    """Makes claims hold. Postgres says who owns a key, before every write."""

    def __init__(self, db: Database, claims: Claims, *, laggards: Laggards = "fence") -> None:
        self._db = db
        self._claims = claims
        self._laggards: Laggards = laggards
        self._open: set[str] = set()
        self.foreign: Foreign = NoForeign()
        self.claim_seconds = Histogram(
            "valhalla_route_claim_seconds", "From a claim's write until all ingresses follow"
        )
        self.on_lane: Callable[[str], None] = lambda _sandbox: None

    async def linked(self, sandbox: Sandbox, routes: Sequence[Route]) -> None:
        """Let a sandbox have what it holds now; repeating it is fine.

        Raises:
            NotRunning: it does not hold one of them any more.
            ClaimRefused, Unavailable: not every ingress follows.
            MappingFull, MirrorNeedsRouter: publishers that are not ours cannot follow.
        """
        await self.foreign.check(routes)
        await self.open(sandbox.id)
        for route in routes:
            terms = Terms(route.mode, route.sample, self._laggards)
            claimed = await self._claims.establish(
                route.kind,
                route.key,
                sandbox.id,
                until=sandbox.expires_at,
                terms=terms,
                owns=self._owned(sandbox.id, route),
            )
            if claimed is None:
                raise NotRunning(f"the sandbox does not hold {route} any more")
            self.claim_seconds.observe(claimed.milliseconds / 1000)
        await self.foreign.follow(routes)

    async def open(self, sandbox_id: str) -> None:
        """Let a sandbox have a lane; repeating it is fine.

        Raises:
            Unavailable: NATS does not answer.
        """
        if sandbox_id not in self._open:
            link, _ = await self._claims.connected()
            await open_lane(link, sandbox_id)
            self._open.add(sandbox_id)

    async def unlinked(self, sandbox_id: str, routes: Sequence[Route], unread: Unread) -> None:
        """Give back what it does not hold any more; repeating it is fine.

        Raises:
            Unavailable: NATS does not answer.
        """
        # first: from here on nothing new comes onto the lane behind the back of what is returned from it
        await self.foreign.follow(routes, released=True)
        for route in routes:
            await self._claims.release(
                route.kind, route.key, sandbox_id, unread=unread, owns=self._owned(sandbox_id, route)
            )

    async def ended(self, sandbox_id: str, routes: Sequence[Route]) -> None:
        """Give back what an ended sandbox had; its lane goes with it.

        Raises:
            Unavailable: NATS does not answer.
        """
        self._open.discard(sandbox_id)
        known = [route for route in routes if _is_kind(route.kind)]
        await self.unlinked(sandbox_id, known, "drain")

    def forget(self, sandbox_id: str) -> None:
        """Open its lane anew when it links something."""
        self._open.discard(sandbox_id)

    def _owned(self, sandbox_id: str, route: Route) -> Owns:
        return partial(self._owns, sandbox_id, route)

    async def _owns(self, sandbox_id: str, route: Route) -> bool:
        holder: Any = await self._db.read(store.holder, route.kind, route.key)
        return holder == sandbox_id


def _is_kind(kind: str) -> bool:
    try:
        kinds.source_of(kind)
    except kinds.KindFormError:
        # one of an earlier release, which was never routed
        return False
    return True
