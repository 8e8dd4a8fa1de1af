"""The watchdog: measures what sandboxes hold and ends those that hold more than they may.

A sandbox over its quota is destroyed, access first, as if its owner had asked for it: that is the one end a sandbox
has, and what it holds is what has to go. Its row keeps the reason, the ledger and an event tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

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
from valhalla.sandbox.quota.warnings import Warnings
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.postgres.usage import arena_usage, database_sizes, own_objects, sizes
from valhalla.sandbox.slices.valkey_usage import is_forbidden
from valhalla.sandbox.teardown import Teardown

_log = get_logger("sandbox.quota")
_ACTOR: Final = "watchdog"
# own databases that one run looks into: each takes a connection
_DATABASES: Final = 50
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
        self._counted: dict[str, int] = {}
        self._warnings = Warnings(db, teardown.ledger)
        self.exceeded = 0
        self.beat: Callable[[], None] = lambda: None
        """Called when the reaper begins, and when it has looked."""

    async def once(self, report: ReapReport) -> None:
        """End what is over its quota; a backend that is away is reported and looked at the next time.

        Raises:
            Unavailable: the registry cannot be reached.
        """
        live = await self._db.read(store.running_names)
        found: list[Excess] = []
        for look in (self._arenas, self._databases, self._files, self._keys):
            try:
                found += await look(live)
            except Unavailable as problem:
                report.failed[problem.backend] = problem.detail
        self.beat()
        known = {names.id for names in live}
        # slots of the pool and what is still being made are not ended: they would be made again, the same
        found = [excess for excess in found if excess.sandbox_id in known]
        # the first of several reasons is told
        over = {excess.sandbox_id: excess for excess in reversed(found) if excess.is_over}.values()
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
        ended = {excess.sandbox_id for excess in over}
        await self._warnings.tell([excess for excess in found if excess.sandbox_id not in ended])

    async def _cut(self, excess: Excess, report: ReapReport) -> Sandbox | None:
        told = excess.told()
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
        usage = await arena_usage(pools, arena, objects=rules.near(most))
        found = _excesses(usage.crowded, "objects in Postgres", most)
        now = self._clock.monotonic()
        last = self._measured.get(arena)
        if last is not None and usage.size < last.size:
            # growth counts from the lowest size since
            last = self._measured[arena] = replace(last, size=usage.size)
        if rules.must_measure(last, size=usage.size, limit=rules.near(limits.postgres_bytes), now=now):
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
        pools, limits = self._backends.postgres.pools, self._limits
        own = {names.database: names.id for names in live if names.isolation == "database"}
        measured = await database_sizes(pools, list(own)) if own else {}
        found: list[Excess] = []
        if limits.postgres_bytes:
            by_id = {own[name]: size for name, size in measured.items()}
            found += _excesses(by_id, "bytes in Postgres", limits.postgres_bytes)
        # an object makes catalogs grow: a database of the same size has at most a few more than when it was looked into
        self._counted = {name: size for name, size in self._counted.items() if name in measured}
        changed = [name for name, size in measured.items() if limits.objects and self._counted.get(name) != size]
        for name in changed[:_DATABASES]:
            try:
                crowded = await own_objects(pools, name, objects=rules.near(limits.objects))
            except asyncpg.InvalidCatalogNameError:
                continue
            self._counted[name] = measured[name]
            found += _excesses(crowded, "objects in Postgres", limits.objects)
        return found

    async def _files(self, live: Sequence[Names]) -> list[Excess]:
        """Look at sandboxes with a SQLite file, which counts as a database of its own does."""
        limit, sqlite = self._limits.postgres_bytes, self._backends.sqlite
        ids = [names.id for names in live if sqlite.name in names.slices]
        return _excesses(await sqlite.sizes(ids), "bytes in SQLite", limit) if ids and limit else []

    async def _keys(self, live: Sequence[Names]) -> list[Excess]:
        usage, limits = self._backends.valkey.usage, self._limits
        live = [names for names in live if self._backends.valkey.name in names.slices]
        found: list[Excess] = []
        try:
            if limits.valkey_keys:
                crowded = await usage.crowded(limits.valkey_keys, live)
                # looked at twice: among several sandboxes of one hash slot, a lower limit counts fewer of their keys
                crowded = await usage.crowded(rules.near(limits.valkey_keys), live) | crowded
                found += _excesses(crowded, "keys in Valkey", limits.valkey_keys)
            if limits.valkey_bytes:
                heavy = await usage.heavy(rules.near(limits.valkey_bytes), live)
                found += _excesses(heavy, "bytes in Valkey", limits.valkey_bytes)
        except Unavailable as problem:
            if not is_forbidden(problem):
                raise
        return found


def _excesses(measured: Mapping[str, int], what: str, limit: int) -> list[Excess]:
    """Return who holds more than the limit, or so much that it is near."""
    return [Excess(each, what, number, limit) for each, number in measured.items() if number > rules.near(limit)]
