"""The watchdog: measures what sandboxes hold and ends those that hold more than they may.

A sandbox over its quota is destroyed, access first, as if its owner had asked for it: that is the one end a sandbox
has, and what it holds is what has to go. Its row keeps the reason, the ledger and an event tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import asyncpg

from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Conflict, NotFound, Problem, Unavailable
from valhalla.kit.db import Database
from valhalla.kit.log import get_logger
from valhalla.sandbox import store
from valhalla.sandbox.backends import Backends
from valhalla.sandbox.contracts import ReapReport, Sandbox
from valhalla.sandbox.quota import rules
from valhalla.sandbox.quota.contracts import Excess, Measured, QuotaLimits
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.postgres.usage import arena_usage, database_sizes, sizes
from valhalla.sandbox.slices.valkey_usage import is_forbidden
from valhalla.sandbox.teardown import Teardown

_log = get_logger("sandbox.quota")
_ACTOR: Final = "watchdog"
ACTION: Final = "quota_exceeded"


class Watchdog:
    """Looks at every sandbox in a few statements per arena; every process may run one."""

    def __init__(
        self, db: Database, backends: Backends, teardown: Teardown, limits: QuotaLimits, *, clock: Clock | None = None
    ) -> None:
        self._db = db
        self._backends = backends
        self._teardown = teardown
        self._limits = limits
        self._clock = clock or Clock()
        self._measured: dict[str, Measured] = {}
        self.exceeded = 0
        self.beat: Callable[[], None] = lambda: None
        """Called when it has looked."""

    async def once(self, report: ReapReport) -> None:
        """End what is over its quota; a backend that is away is reported and looked at the next time.

        Raises:
            Unavailable: the registry cannot be reached.
        """
        live = await self._db.read(store.running_names)
        found: dict[str, Excess] = {}
        for look in (self._arenas, self._databases, self._keys):
            try:
                for excess in await look(live):
                    found.setdefault(excess.sandbox_id, excess)
            except Unavailable as problem:
                report.failed[problem.backend] = problem.detail
        self.beat()
        known = {names.id for names in live}
        # slots of the pool and what is still being made are not ended: they would be made again, the same
        over = [excess for excess in found.values() if excess.sandbox_id in known]
        cut = [(excess, sandbox) for excess in over if (sandbox := await self._cut(excess, report)) is not None]
        for excess, sandbox in cut:
            report.over_quota[sandbox.id] = str(excess)
            # what it frees must not hide what another takes
            self._measured.pop(sandbox.names.database, None)
            done = await self._teardown.finish(sandbox, actor=_ACTOR)
            if done:
                report.destroyed.append(sandbox.id)
            else:
                report.failed[sandbox.id] = "something is left; the next run tries again"

    async def _cut(self, excess: Excess, report: ReapReport) -> Sandbox | None:
        told: dict[str, Any] = {"what": excess.what, "measured": excess.measured, "limit": excess.limit}
        try:
            sandbox = await self._teardown.begin(
                excess.sandbox_id,
                actor=_ACTOR,
                action=ACTION,
                reason=str(excess),
                error=str(excess),
                sources=("running",),
                alert=told,
            )
        except (Conflict, NotFound):
            return None
        except Problem as problem:
            # the decision stands and the reaper repeats the cut
            report.failed[excess.sandbox_id] = problem.detail
            sandbox = None
        self.exceeded += 1
        _log.warning("a sandbox is over its quota", sandbox_id=excess.sandbox_id, **told)
        return sandbox

    async def _arenas(self, live: Sequence[Names]) -> list[Excess]:
        found: list[Excess] = []
        arenas = await self._backends.postgres.arenas.list()
        self._measured = {arena: last for arena, last in self._measured.items() if arena in arenas}
        for arena in arenas:
            try:
                found += await self._arena(arena)
            except asyncpg.InvalidCatalogNameError:
                # drained and dropped meanwhile
                continue
        return found

    async def _arena(self, arena: str) -> list[Excess]:
        pools, limits = self._backends.postgres.pools, self._limits
        most = limits.objects or 2**62
        usage = await arena_usage(pools, arena, objects=most)
        found = _excesses(usage.crowded, "objects in Postgres", most)
        now = self._clock.monotonic()
        last = self._measured.get(arena)
        if last is not None and usage.size < last.size:
            # growth counts from the lowest size since
            last = self._measured[arena] = replace(last, size=usage.size)
        if rules.must_measure(last, size=usage.size, limit=limits.postgres_bytes, now=now):
            try:
                each = await sizes(pools, arena)
            except asyncpg.LockNotAvailableError:
                _log.info("an arena is measured later: somebody holds a table", arena=arena)
                return found
            self._measured[arena] = Measured(usage.size, max(each.values(), default=0), now)
            found += _excesses(each, "bytes in Postgres", limits.postgres_bytes)
        return found

    async def _databases(self, live: Sequence[Names]) -> list[Excess]:
        """Look at sandboxes that have a database of their own."""
        limit, prefix = self._limits.postgres_bytes, self._backends.postgres.arenas.prefix
        own = {names.database: names.id for names in live if not names.database.startswith(prefix)}
        if not own or not limit:
            return []
        measured = await database_sizes(self._backends.postgres.pools, list(own))
        return _excesses({own[name]: size for name, size in measured.items()}, "bytes in Postgres", limit)

    async def _keys(self, live: Sequence[Names]) -> list[Excess]:
        usage, limits = self._backends.valkey.usage, self._limits
        live = [names for names in live if self._backends.valkey.name in names.slices]
        found: list[Excess] = []
        try:
            if limits.valkey_keys:
                crowded = await usage.crowded(limits.valkey_keys, live)
                found += _excesses(crowded, "keys in Valkey", limits.valkey_keys)
            if limits.valkey_bytes:
                heavy = await usage.heavy(limits.valkey_bytes, live)
                found += _excesses(heavy, "bytes in Valkey", limits.valkey_bytes)
        except Unavailable as problem:
            if not is_forbidden(problem):
                raise
        return found


def _excesses(measured: Mapping[str, int], what: str, limit: int) -> list[Excess]:
    return [Excess(each, what, number, limit) for each, number in measured.items() if number > limit]
