"""The feature as the composition root sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.operations.admin import key_actions, stock
from valhalla.features.operations.admin.blocks import blocks
from valhalla.features.operations.admin.contracts import AdminAction, Executor
from valhalla.features.operations.admin.handouts import Handouts
from valhalla.features.operations.admin.overview import Overview, Sources
from valhalla.features.operations.admin.service import AdminService
from valhalla.features.operations.admin.workers import workers
from valhalla.features.operations.deployments import REMEDY
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff, first_of
from valhalla.work.desk import JobDesk
from valhalla.work.loops import Loop, loop

if TYPE_CHECKING:
    from fastapi import APIRouter

_EVERY: Final = 2.0
_LOOP: Final = loop("admin-actions", _EVERY, "executes admin actions that were approved", patience=30)
log = get_logger("admin")


class Admin(Feature):
    """The overview and the actions; ``compose`` is called by who has the guard."""

    name: ClassVar[str] = "admin"

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._beat = partial(platform.beat, _LOOP.name)
        self._overview: Overview | None = None
        self.service = AdminService(platform.db, platform.ledger)
        self.handouts = Handouts(platform.db, platform.ledger, platform.cell, clock=platform.clock)

    def compose(self, of: Sources, executor: Executor, further: Iterable[AdminAction] = ()) -> None:
        """Take who executes, and what other features bring.

        Raises:
            ValueError: two actions have one name.
        """
        platform = self._platform
        settle = platform.feed.refresh
        self.service.compose(
            [
                *key_actions.keys(of.clients, self.handouts, settle),
                *stock.modes(of.maintenance, settle),
                *stock.flags(of.flags),
                *stock.jobs(JobDesk(platform.db, platform.jobs, platform.ledger)),
                *stock.smoke(of.deployments),
                *stock.alerts(of.alerts),
                *stock.limits(of.limits, platform.db, settle),
                *blocks(of.blocklist, platform.db, platform.clock),
                *workers(platform.db),
                *further,
            ],
            executor,
        )
        of.deployments.smoke.undoing.guarded = self._undo
        self._overview = Overview(platform.db, platform.clock, of, executor.waiting)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/admin``."""
        from valhalla.features.operations.admin.api import router

        return (router(self.service, self._look, self.handouts),)

    def background(self) -> Mapping[str, Run]:
        """Return what executes approved actions."""
        return {"admin-actions": self._run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_LOOP,)

    async def _undo(
        self, principal: Principal, arguments: Mapping[str, Any], reason: str, key: str
    ) -> Mapping[str, Any]:
        """Let a failed smoke test do what its suite declares as if somebody had asked for it."""
        _, done = await self.service.execute(principal, REMEDY, arguments, reason=reason, key=key)
        return done.value or {}

    def _look(self) -> Overview:
        if self._overview is None:
            raise Problem("the admin API is not composed in this runtime")
        return self._overview

    async def _run(self, stop: asyncio.Event) -> None:
        backoff = Backoff(_EVERY, 60.0)
        while not stop.is_set():
            self._beat()
            pause = _EVERY
            try:
                await self.service.executor.execute_approved()
                backoff.reset()
            except Unavailable as problem:
                pause = backoff.next()
                log.warning("approved actions wait for the database", error=problem.detail)
            except Exception:
                pause = backoff.next()
                log.exception("approved actions could not be executed and will be tried again")
            await first_of(stop, seconds=pause)
