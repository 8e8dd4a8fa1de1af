"""The feature as the composition root sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.security.policies.contracts import Deed
from valhalla.guard.guard import Guard
from valhalla.guard.plane.carrier import Carrier
from valhalla.guard.plane.operating import AdminGuard
from valhalla.guard.plane.passes import Grant, Passes
from valhalla.guard.plane.service import HoldService
from valhalla.guard.stores.postgres import PostgresStore
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Unavailable
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff, first_of
from valhalla.work.loops import Loop, loop

if TYPE_CHECKING:
    from fastapi import APIRouter

_SWEEP: Final = 15.0
_CARRYING: Final = loop("guard-carrier", 5.0, "carries what happened to actions into the ledger")
_SWEEPING: Final = loop("guard-sweeper", _SWEEP, "lets holds expire, knows lapsed executions as such", patience=60)
log = get_logger("guard.plane")


class GuardedActions(Feature):
    """Rows of guarded actions in the control plane's own Postgres: ``guard`` runs over them, people decide on them."""

    name: ClassVar[str] = "guard"

    def __init__(self, platform: Platform) -> None:
        """Build the guard; nothing is connected before its first verb."""
        self._beat = platform.beat
        self._clock = platform.clock
        self.guard = Guard(PostgresStore(platform.db.dsn))
        self.holds = HoldService(self.guard, platform.db)
        self.carrier = Carrier(platform.db, platform.ledger)
        self.carrier.beat = partial(platform.beat, _CARRYING.name)

    def executor(self, find: Callable[[str], Principal | None]) -> AdminGuard:
        """Return what executes admin actions; ``find`` says who a client is now."""
        return AdminGuard(self.guard, find)

    def passes(self, grant: Grant) -> Callable[[Deed], Awaitable[Mapping[str, Any]]]:
        """Return what holds requests for policies; ``grant`` lets a key pass one."""
        return Passes(self.guard, grant, self._clock).ask

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/holds``."""
        from valhalla.guard.plane.api import router

        return (router(self.holds),)

    def background(self) -> Mapping[str, Run]:
        """Carry lines into the ledger; let holds expire and lapsed executions be known as such."""
        return {"guard-carrier": self.carrier.run, "guard-sweeper": self._sweep}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_CARRYING, _SWEEPING)

    async def _sweep(self, stop: asyncio.Event) -> None:
        backoff = Backoff(1.0, 60.0)
        while not stop.is_set():
            self._beat(_SWEEPING.name)
            pause = _SWEEP
            try:
                await self.guard.asweep()
                await self.guard.store.apurge()
                backoff.reset()
            except Unavailable as problem:
                pause = backoff.next()
                log.warning("sweeping waits for the database", error=problem.detail, pause=round(pause, 2))
            except Exception:
                pause = backoff.next()
                log.exception("sweeping failed and will be tried again", pause=round(pause, 2))
            await first_of(stop, seconds=pause)

    async def stop(self) -> None:
        """Give back the connections."""
        self.guard.close()
