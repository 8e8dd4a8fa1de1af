"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sqlalchemy.engine import Connection

from valhalla.features.contracts import Feature, Platform
from valhalla.features.data.exports import Exports
from valhalla.features.data.retention import rules, store
from valhalla.features.data.retention.categories import Categories
from valhalla.features.data.retention.contracts import Hold, Policy
from valhalla.features.data.retention.looking import Looking
from valhalla.features.data.retention.purging import Purger
from valhalla.features.data.retention.service import LARGE, WRITE, Ask, RetentionService
from valhalla.features.data.retention.starting import JOB, Starting
from valhalla.features.data.retention.ticking import Ticking
from valhalla.features.operations.admin.contracts import AdminAction, Order
from valhalla.kernel.problems import Invalid
from valhalla.kit.db import Database
from valhalla.kit.holds import POLICIES
from valhalla.kit.holds import REGISTRY as HOLDS
from valhalla.kit.registry import Registry
from valhalla.work import Retry
from valhalla.work.schedules import Cron, Schedule

if TYPE_CHECKING:
    from fastapi import APIRouter

_TICK: Final = Schedule(name="valhalla.retention", job="valhalla.retention", timing=Cron("17 * * * *"), jitter=60.0)
_LONGEST: Final = 6 * 3600.0
# a partition of a day is counted in one statement
_PATIENCE: Final = 1800.0


class Retention(Feature):
    """What is kept how long; ``ask`` is put in place by who executes admin actions."""

    name: ClassVar[str] = "retention"

    def __init__(self, platform: Platform, exports: Exports, *, ask: Ask) -> None:
        """Register registries and jobs. ``exports`` writes what is to be exported before it goes."""
        self._db, self._feed, self._clock = platform.db, platform.feed, platform.clock
        self.categories = Categories(platform.settings)
        self.policies: Registry[Policy] = Registry(POLICIES, Policy, platform.ledger, validate=self._check_policy)
        self.holds: Registry[Hold] = Registry(HOLDS, Hold, platform.ledger, validate=self._check_hold)
        for registry in (self.policies, self.holds):
            platform.feed.add(registry)
        # few sessions of its own: a purge never takes the last one from who serves requests
        self._own = Database(
            platform.db.dsn, pool_size=2, application_name="valhalla-retention", statement_timeout=_PATIENCE
        )
        self._batches = Database(
            platform.db.dsn,
            pool_size=1,
            application_name="valhalla-purge",
            # the first batch goes past all that is held
            statement_timeout=_PATIENCE,
            session=store.PURGING,
        )
        self.purger = Purger(
            self._own, self._batches, platform.ledger, self.categories, self.holds, exports, clock=platform.clock
        )
        looking = Looking(self.categories, self.policies, self.holds, clock=platform.clock)
        starting = Starting(platform.jobs, platform.ledger, clock=platform.clock)
        self.service = RetentionService(self._own, looking, starting, ask=lambda: ask)
        self.ticking = Ticking(self._own, platform.ledger, looking, starting, clock=platform.clock)
        exports.held = self._held_exports
        platform.jobs.job(JOB, queue="valhalla", timeout=_LONGEST, retry=Retry(attempts=5))(self._purge)
        platform.jobs.job(_TICK.job, queue="valhalla", timeout=_PATIENCE)(self._tick)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/retention``."""
        from valhalla.features.data.retention import api

        return (
            api.router(self.service),
            *api.registries(self.policies, self.holds, self._db, self._feed.refresh),
        )

    def schedules(self) -> Sequence[Schedule]:
        """Return when policies are looked at."""
        return (_TICK,)

    def admin_actions(self) -> Sequence[AdminAction]:
        """Return the purge that somebody else must agree to."""
        return (
            AdminAction(
                LARGE,
                "Purge a large part of a table, up to an instant; somebody else approves it.",
                {
                    "type": "object",
                    "properties": {
                        "category": {"type": "string", "minLength": 1, "maxLength": 64},
                        "cutoff": {"type": "string", "maxLength": 40, "description": "RFC 3339"},
                        "rows": {"type": "integer", "minimum": 0, "description": "so many were seen in the preview"},
                    },
                    "required": ["category", "cutoff", "rows"],
                    "additionalProperties": False,
                },
                "irreversible",
                WRITE,
                self._purge_large,
                approval="1 of anyone",
            ),
        )

    async def stop(self) -> None:
        """Close its sessions."""
        await self._own.close()
        await self._batches.close()

    async def _purge_large(self, order: Order) -> Mapping[str, Any]:
        found = order.arguments
        try:
            cutoff = datetime.fromisoformat(found["cutoff"])
            if cutoff.tzinfo is None:
                raise ValueError("no zone")
        except ValueError:
            raise Invalid("/arguments/cutoff: write an instant such as 2026-11-30T18:00:00Z") from None
        purge = await self.service.confirmed(
            order.principal, found["category"], min(cutoff, self._clock.now()), found["rows"], order.reason
        )
        return {"purge": purge.id, "category": purge.category, "cutoff": purge.cutoff.isoformat()}

    async def _purge(self, purge: str) -> str:
        """Do a purge."""
        return await self.purger.execute(purge)

    async def _tick(self) -> list[str]:
        """End what no job will finish, begin what is due."""
        await self._own.run(self.purger.give_up, self._clock.now())
        return await self.ticking.tick()

    def _held_exports(self, conn: Connection) -> str | None:
        return store.held(conn, self.holds, self.categories.get("exports")).sql

    def _check_policy(self, policy: Policy) -> None:
        rules.check_policy(policy, self.categories.all())

    def _check_hold(self, hold: Hold) -> None:
        rules.check_hold(hold, self.categories.all())
