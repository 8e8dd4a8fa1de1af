"""The overview: from snapshots and counts that are kept anyway, but for some small queries every two seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final, Protocol

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from valhalla.features.observability.alerts import Alerts
from valhalla.features.observability.health import Health
from valhalla.features.operations.admin import rules
from valhalla.features.operations.clients import Clients
from valhalla.features.operations.deployments import Deployments
from valhalla.features.operations.flags import Flags
from valhalla.features.operations.limits import RateLimits
from valhalla.features.operations.maintenance import Maintenance
from valhalla.features.security.blocklist import Blocklist
from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.work import draining

_FRESH: Final = 2.0
_PATIENCE: Final = 2.0
_SOON: Final = timedelta(days=14)
_SHOWN: Final = 20
# the primary key finds the newest of each registry; the index on what waits bounds the other two
_CHANGES: Final = sa.text(
    """
    SELECT c.registry, c.revision, c.op, c.key, c.actor, c.reason, c.at
    FROM valhalla.registry_heads h CROSS JOIN LATERAL (
        SELECT * FROM valhalla.registry_changes c WHERE c.registry = h.name ORDER BY c.revision DESC LIMIT 10
    ) c ORDER BY c.at DESC LIMIT 10
    """
)
_QUEUES: Final = sa.text(
    """
    SELECT status, count(*) FROM (
        SELECT status FROM valhalla.jobs WHERE status IN ('queued', 'running', 'dead', 'held') LIMIT 100000
    ) AS waiting GROUP BY status
    """
)


class Sources(Protocol):
    """The features that the admin API looks at and acts on."""

    @property
    def clients(self) -> Clients: ...
    @property
    def maintenance(self) -> Maintenance: ...
    @property
    def alerts(self) -> Alerts: ...
    @property
    def health(self) -> Health: ...
    @property
    def flags(self) -> Flags: ...
    @property
    def blocklist(self) -> Blocklist: ...
    @property
    def limits(self) -> RateLimits: ...
    @property
    def deployments(self) -> Deployments: ...


class Overview:
    """Any number of people may look at it at once."""

    def __init__(self, db: Database, clock: Clock, sources: Sources, waiting: Callable[[], Awaitable[int]]) -> None:
        self._db = db
        self._clock = clock
        self._of = sources
        self._waiting = waiting
        self._lock = asyncio.Lock()
        self._asked = float("-inf")
        self._counted: dict[str, Any] = {}

    async def look(self) -> Mapping[str, Any]:
        """Return the members of ``OverviewOut``; what cannot be known now is null, and ``stale`` says so."""
        stale = await self._refresh()
        of, now = self._of, self._clock.now()
        standing = of.maintenance.keeper.now()
        report = of.health.checks.last()
        soon = rules.ending(of.clients.by_id().values(), now, _SOON)
        upcoming = of.maintenance.keeper.upcoming(now, 5, timedelta(days=7))
        return {
            "at": now,
            "mode": {"mode": standing.mode, "reason": standing.reason, "until": standing.until},
            "health": {
                "phase": of.health.phase,
                "ready": report.ok,
                "reason": report.reason,
                "failing": [one.name for one in report.results if not one.ok],
            },
            "alerts": _by_severity(of.alerts.watch.counts),
            "expiring_keys": [
                {"id": one.id, "name": one.name, "owner": one.owner, "expires_at": one.expires_at}
                for one in soon[:_SHOWN]
            ],
            "windows": [
                {"window": one.window, "start": one.start, "end": one.end, "running": one.start <= now}
                for one in upcoming
            ],
            **self._counted,
            "stale": stale,
        }

    async def _refresh(self) -> bool:
        async with self._lock:
            if time.monotonic() - self._asked < _FRESH:
                return not self._counted
            self._asked = time.monotonic()
            try:
                async with asyncio.timeout(_PATIENCE):
                    changes, queues, drains = await self._db.read(_count)
                    holds = await self._waiting()
            except (Unavailable, TimeoutError):
                self._counted = {}
                return True
            self._counted = {"changes": changes, "jobs": queues, "holds": holds, "draining": drains}
            return False


def _count(conn: Connection) -> tuple[list[dict[str, Any]], dict[str, int], list[dict[str, Any]]]:
    changes = [dict(row) for row in conn.execute(_CHANGES).mappings()]
    queues: dict[str, int] = {row[0]: row[1] for row in conn.execute(_QUEUES)}
    return changes, queues, [msgspec.structs.asdict(drain) for drain in draining.every(conn)]


def _by_severity(counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for (_, severity), count in counts.items():
        found[severity] = found.get(severity, 0) + count
    return found
