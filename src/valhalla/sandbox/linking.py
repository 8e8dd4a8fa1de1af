"""Routes of sandboxes: who has one is decided here, and it holds when every ingress follows it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from sqlalchemy.engine import Connection

from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem
from valhalla.sandbox import refusals, rules, store
from valhalla.sandbox.contracts import Route, Sandbox
from valhalla.sandbox.errors import NotRunning, RouteNotFound
from valhalla.sandbox.register import Register
from valhalla.sandbox.routing import kinds
from valhalla.sandbox.routing.contracts import Unread
from valhalla.sandbox.routing.errors import RouteOverlaps
from valhalla.sandbox.teardown import emit


class Effects(Protocol):
    """What follows from routes: the ingresses are told, and have been when these return."""

    async def linked(self, sandbox: Sandbox, routes: Sequence[Route]) -> None:
        """Let a sandbox have what it holds now; repeating it is fine."""
        ...

    async def unlinked(self, sandbox_id: str, routes: Sequence[Route], unread: Unread) -> None:
        """Give back what it does not hold any more; repeating it is fine."""
        ...


class NoEffects:
    """Where no events are routed: routes are written down, and nobody asks."""

    async def linked(self, sandbox: Sandbox, routes: Sequence[Route]) -> None:
        """Do nothing."""

    async def unlinked(self, sandbox_id: str, routes: Sequence[Route], unread: Unread) -> None:
        """Do nothing."""


class Proof(Protocol):
    """Says who may claim which keys."""

    async def check(self, principal: Principal, sandbox: str | None, owner: str, routes: Sequence[Route]) -> None:
        """Let claims be made, or raise; ``sandbox`` is None for one that is being made."""
        ...


class FirstCome:
    """A key is whoever's claims it first."""

    async def check(self, principal: Principal, sandbox: str | None, owner: str, routes: Sequence[Route]) -> None:
        """Let everything be claimed."""


class Linking(Register):
    """The use cases of routes."""

    routing: Effects = NoEffects()
    proof: Proof = FirstCome()

    async def link(
        self, principal: Principal, reference: str, kind: str, key: str, *, mode: str = "steal", sample: float = 1.0
    ) -> Route:
        """Claim a route for a running sandbox; claiming it again is fine, and may change its terms.

        From when this returns on, every ingress sends the key's events there, or (``mode`` ``mirror``) copies of the
        part of them that ``sample`` says.

        Raises:
            Invalid: kind, key or terms have a wrong form.
            RouteTaken, RouteOverlaps: another sandbox holds it, or a pattern that covers some of the same.
            NotRunning: the sandbox is not running.
            ClaimDenied, ClaimUnproven: whoever knows whose the key is says no, or nothing.
            ClaimRefused: an ingress did not follow in time; the route is not linked.
            Unavailable: NATS does not answer; the route is not linked.
        """
        return (await self.link_all(principal, reference, [rules.check_terms(kind, key, mode, sample, "")]))[0]

    async def link_all(self, principal: Principal, reference: str, routes: Sequence[Route]) -> Sequence[Route]:
        """Claim several checked routes in one transaction; see ``link``. All or none of them are linked.

        Raises:
            as ``link``.
        """
        sandbox = await self.get(principal, reference)
        self.must_run(sandbox)
        new_terms = [route for route in routes if not _is_held(sandbox, route)]
        await self.proof.check(principal, sandbox.id, sandbox.owner, new_terms)
        linked = await self._db.run(self._link, principal, sandbox, routes)
        try:
            await self.routing.linked(sandbox, linked)
        except BaseException:
            new = [route for route in linked if not _held(sandbox, route)]
            await self._db.run(self._unlink, principal, sandbox, new, "withdrawn")
            # what is not given back now, the keeper of routes gives back
            with contextlib.suppress(Problem):
                await self.routing.unlinked(sandbox.id, new, "return")
            raise
        return linked

    def _link(
        self, conn: Connection, principal: Principal, sandbox: Sandbox, routes: Sequence[Route]
    ) -> Sequence[Route]:
        current = store.lock(conn, sandbox.id)
        if current is None or current.status != "running":
            raise NotRunning("the sandbox ended in the meantime")
        now = self._clock.now()
        linked: list[Route] = []
        for route in sorted(routes, key=str):
            held = _held(sandbox, route)
            if held is not None and _is_held(sandbox, route):
                linked.append(held)
                continue
            if route.kind == kinds.PATTERNS:
                for other in store.keys_of_others(conn, route.kind, sandbox.id):
                    if other != route.key and kinds.overlap(other, route.key):
                        raise RouteOverlaps(f"another sandbox holds {route.kind}:{other}", route=str(route))
            if store.link(conn, sandbox.id, route, at=now) != sandbox.id:
                raise refusals.route_taken(str(route))
            details = {"route": str(route)} | ({"mode": route.mode} if route.mode != "steal" else {})
            self._note(conn, principal, sandbox, "route_linked", details)
            emit(conn, sandbox, "sandbox.route_linked", kind=route.kind, key=route.key)
            linked.append(replace(route, linked_at=now if held is None else held.linked_at))
        return linked

    async def unlink(
        self, principal: Principal, reference: str, kind: str, key: str, *, unread: Unread = "drain"
    ) -> None:
        """Release a route. ``unread`` says who gets the events that the sandbox has not read yet.

        Raises:
            RouteNotFound: the sandbox does not hold it.
            Unavailable: NATS does not answer; the route is released all the same, as soon as it does.
        """
        await self.unlink_all(principal, reference, [rules.check_route(kind, key, "")], unread=unread)

    async def unlink_all(
        self, principal: Principal, reference: str, routes: Sequence[Route], *, unread: Unread = "drain"
    ) -> None:
        """Release several routes in one transaction; see ``unlink``.

        Raises:
            as ``unlink``.
        """
        sandbox = await self.get(principal, reference)
        await self._db.run(self._unlink, principal, sandbox, routes, None)
        await self.routing.unlinked(sandbox.id, routes, unread)

    def _unlink(
        self, conn: Connection, principal: Principal, sandbox: Sandbox, routes: Sequence[Route], reason: str | None
    ) -> None:
        for route in routes:
            if not store.unlink(conn, sandbox.id, route.kind, route.key):
                if reason is not None:
                    continue
                raise RouteNotFound(f"the sandbox does not hold the route {route}", route=str(route))
            details = {"route": str(route)} | ({"reason": reason} if reason else {})
            self._note(conn, principal, sandbox, "route_unlinked", details)
            emit(conn, sandbox, "sandbox.route_unlinked", kind=route.kind, key=route.key)

    def _note(
        self, conn: Connection, principal: Principal, sandbox: Sandbox, action: str, details: dict[str, Any]
    ) -> None:
        self._ledger.append(
            conn, actor=principal.id, action=action, kind="sandbox", subject=sandbox.id, details=details
        )


def _is_held(sandbox: Sandbox, route: Route) -> bool:
    """Say whether the sandbox has a route already, under the same terms."""
    held = _held(sandbox, route)
    return held is not None and (held.mode, held.sample) == (route.mode, route.sample)


def _held(sandbox: Sandbox, route: Route) -> Route | None:
    return next((held for held in sandbox.routes if (held.kind, held.key) == (route.kind, route.key)), None)
