"""The feature as the composition root sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.operations.admin import AdminService
from valhalla.features.operations.admin.contracts import AdminAction
from valhalla.features.security.actions import rules
from valhalla.features.security.actions.contracts import Chain, Desk, Terms, declared
from valhalla.features.security.actions.errors import BadChain
from valhalla.features.security.actions.rules import Book
from valhalla.features.security.actions.service import ActionService
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid, Problem, Unavailable
from valhalla.kit.changes import Snapshot, View
from valhalla.kit.log import get_logger
from valhalla.kit.registry import Registry
from valhalla.kit.waiting import Backoff, first_of
from valhalla.work.loops import Loop, loop

if TYPE_CHECKING:
    from fastapi import APIRouter

REGISTRY: Final = "approval_chains"
_EVERY: Final = 60.0
_LOOP: Final = loop("action-escalation", _EVERY, "makes alerts of requests that nobody answers", patience=120)
_NOBODY: Final = Principal("nobody", "nobody", frozenset())
log = get_logger("security.actions")


class Actions(Feature):
    """Requests for risky operations, and the chains of who must approve them; ``compose`` brings the guard."""

    name: ClassVar[str] = "actions"

    def __init__(self, platform: Platform) -> None:
        """Register the registry and follow it."""
        self._platform = platform
        self._beat = partial(platform.beat, _LOOP.name)
        self._service: ActionService | None = None
        self.registry: Registry[Chain] = Registry(REGISTRY, Chain, platform.ledger, validate=self._check)
        platform.feed.add(self.registry)
        self._book: View[Book] = platform.feed.view(REGISTRY, _bound)

    def compose(
        self, admin: AdminService, desk: Desk, find: Callable[[str], Principal | None], mode: Callable[[], str]
    ) -> None:
        """Take who executes, who is who, and the security mode; from here on chains hold for every admin action."""
        platform = self._platform

        def terms(action: AdminAction, payload: Mapping[str, Any], by: str, requested: bool) -> Terms | None:
            known = rules.facts(
                action.name,
                action.effect,
                action.scope,
                payload,
                find(by) or _NOBODY,
                requested=requested,
                mode=mode(),
            )
            chain = self._book.value.find(known)
            if chain is not None:
                return Terms(chain.approval, chain.expires_in)
            return declared(action, requested=requested)

        desk.bind(terms)
        self._service = ActionService(platform.db, platform.ledger, admin, desk, self._book, clock=platform.clock)

    @property
    def service(self) -> ActionService:
        """The use cases.

        Raises:
            Problem: nothing is composed in this runtime.
        """
        if self._service is None:
            raise Problem("no guard keeps requested actions here")
        return self._service

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/security/actions`` and ``/system/security/approval-chains``."""
        from valhalla.features.security.actions.api import router
        from valhalla.features.security.actions.face import chain_face
        from valhalla.kit.registry_routes import registry_router

        platform = self._platform
        return (
            router(lambda: self.service),
            registry_router(chain_face(self.registry), platform.db, platform.feed.refresh),
        )

    def background(self) -> Mapping[str, Run]:
        """Return what reminds of requests."""
        return {"action-escalation": self._run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_LOOP,)

    def _check(self, chain: Chain) -> None:
        rules.check(chain)
        try:
            self.service.desk.spell(chain.approval)
        except Invalid as problem:
            raise BadChain(f"/approval: {problem.detail}") from problem

    async def _run(self, stop: asyncio.Event) -> None:
        backoff = Backoff(_EVERY, 600.0)
        while not stop.is_set():
            self._beat()
            pause = _EVERY
            try:
                await self.service.escalate()
                backoff.reset()
            except Unavailable as problem:
                pause = backoff.next()
                log.warning("reminding waits for the database", error=problem.detail)
            except Exception:
                pause = backoff.next()
                log.exception("requests could not be looked through and will be again")
            await first_of(stop, seconds=pause)


def _bound(snapshot: Snapshot[Chain]) -> Book:
    return Book(record.value for record in snapshot.records.values())
