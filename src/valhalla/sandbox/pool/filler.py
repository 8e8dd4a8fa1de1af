"""Keeps the pool full: builds slots in small batches, paced, and hands this process its stock."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from valhalla.kernel.clock import Clock
from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Conflict, NotFound, Problem, Unavailable
from valhalla.kit.db import Database
from valhalla.kit.faults import crashpoint
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff, first_of
from valhalla.sandbox.backends import Backends
from valhalla.sandbox.pool import store
from valhalla.sandbox.pool.contracts import Level, PoolSettings
from valhalla.sandbox.pool.meter import Meter
from valhalla.sandbox.pool.pace import pace
from valhalla.sandbox.pool.stock import Slot, Stock
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.teardown import Teardown
from valhalla.sandbox.templates import BuiltIn, Command, Poolable, Templates, is_pooled, seed

_log = get_logger("sandbox.filler")
_RESERVED: Final = timedelta(seconds=60)
_DRAIN: Final = 20
# seconds: how often a full pool is looked at, and how long a claim waits for others before the filler starts
_IDLE: Final = 5.0
_GATHER: Final = 0.05
# seconds: how long the filler stands back under load, and for creations in line
_HOLD: Final = 0.05
_MAKE_WAY: Final = 0.1
_ACTOR: Final = "filler"


class Filler:
    """The background part of the pool. Several processes may run one each; the pool in the database is shared."""

    def __init__(
        self,
        db: Database,
        backends: Backends,
        teardown: Teardown,
        templates: Templates,
        *,
        cell: str,
        settings: PoolSettings,
        max_ttl: timedelta,
        lease: timedelta,
        clock: Clock,
    ) -> None:
        """``lease``: how long a batch may be under way before the reaper takes it for dead."""
        self.stock = Stock()
        self.process = new_id()
        self.last_error: str | None = None
        self.beat: Callable[[], None] = lambda: None
        """Called when it begins, with each batch and at every turn, whatever came of it."""
        self.paused: Callable[[], bool] = lambda: False
        """Whether nothing may be built now: nobody can claim it, and the databases shall stand still."""
        self.refused: dict[str, str] = {}
        """Templates that are to be pooled and cannot be, with the reason."""
        self.pool: dict[str, Level] = {}
        self._db = db
        self._backends = backends
        self._teardown = teardown
        self._templates = templates
        self._cell = cell
        self._settings = settings
        self._max_ttl = max_ttl
        self._lease = lease
        self._clock = clock
        self._woken = asyncio.Event()
        self._meters = {name: Meter() for name in settings.templates}
        self._busy = 0
        self._calm = asyncio.Event()
        self._calm.set()
        self._late = 0.0
        self._renewed = 0.0

    @property
    def enabled(self) -> bool:
        """Whether a pool is kept at all."""
        return self._settings.size > 0 and bool(self._settings.templates)

    def take(self, template: Poolable) -> Slot | None:
        """Return a reserved slot of this template version, or None: build in line."""
        if not self.enabled or template.name not in self._settings.templates:
            return None
        self._woken.set()
        slot = self.stock.take(template.name, template.version)
        self._meters[template.name].note(found=slot is not None)
        return slot

    @contextlib.contextmanager
    def in_line(self) -> Generator[None]:
        """Mark a creation that builds for itself: the filler begins a moment later, for that one somebody waits for."""
        self._busy += 1
        self._calm.clear()
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._calm.set()

    def target(self, template: str) -> int:
        """How many ready slots this process wants of a template now: the floor, or what it claimed in ten seconds."""
        return min(self._settings.most, max(self._settings.size, self._meters[template].recent()))

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then give the stock back; a backend that is away is waited for."""
        if not self.enabled:
            return
        # the first batch takes a while: who asks meanwhile should hear that it lives
        self.beat()
        backoff = Backoff(0.5, 10.0)
        while not stop.is_set():
            self._woken.clear()
            pause = _IDLE
            try:
                if await self.once():
                    pause = 0.0
                backoff.reset()
                self.last_error = None
            except Unavailable as problem:
                pause, self.last_error = backoff.next(), problem.detail
                _log.warning("the pool waits for a backend", backend=problem.backend, pause=round(pause, 2))
            except Exception as error:  # noqa: BLE001 - without its filler the pool would run dry and never fill
                pause, self.last_error = backoff.next(), f"{type(error).__name__}: {error}"
                _log.exception("filling the pool failed and will be tried again", pause=round(pause, 2))
            self.beat()
            if await first_of(stop, self._woken, seconds=pause) and not stop.is_set():
                # several claims of one moment are answered with one batch
                await first_of(stop, seconds=_GATHER)
        with contextlib.suppress(Unavailable):
            await self._db.run(store.release, process=self.process)

    async def once(self) -> bool:
        """Renew, reserve, and build at most one batch per template; True when more is wanted.

        Raises:
            Unavailable: a backend or the registry cannot be reached.
        """
        await self._renew()
        kinds = await asyncio.to_thread(self._kinds)
        more = await self._drain([(template.name, template.version) for template in kinds])
        for template in kinds:
            await self._reserve(template)
            ready, building = await self._db.read(
                store.count, template.name, template.version, process=self.process, now=self._clock.now()
            )
            self.pool[template.name] = Level(self.target(template.name), ready, building)
            missing = self.target(template.name) - ready - building
            if missing <= 0 or self.paused():
                continue
            demand = self._meters[template.name].demand(target=missing + ready, ready=ready, late=self._late)
            speed = pace(demand, rate=self._settings.rate, rush=self._settings.rush)
            if not speed:
                await self._pause(_HOLD)
                more = True
                continue
            # one creation in line is sooner done alone; several are sooner served by a batch
            await first_of(self._calm, seconds=_MAKE_WAY)
            await self._build(template, min(missing, self._settings.batch), speed)
            await self._reserve(template)
            more = more or missing > self._settings.batch
        return more

    def _kinds(self) -> list[Poolable]:
        """Return the templates that can be pooled; one that cannot, or is broken, does not keep the others waiting."""
        kinds: list[Poolable] = []
        for name in self._settings.templates:
            try:
                kinds.append(self._kind(name))
            except Problem as problem:
                if self.refused.get(name) != problem.detail:
                    _log.warning("a template is not pooled", template=name, reason=problem.detail)
                self.refused[name] = problem.detail
            else:
                self.refused.pop(name, None)
        return kinds

    def _kind(self, name: str) -> Poolable:
        template = self._templates.get(name)
        if isinstance(template, Command):
            raise Conflict(f"template '{name}' cannot be pooled: nobody can tell when its command makes something else")
        if not is_pooled(template):
            raise Conflict(f"template '{name}' cannot be pooled: its sandboxes have databases of their own")
        return template

    async def _renew(self) -> None:
        """Keep our reservations; what another process has taken over is not ours any more."""
        now = time.monotonic()
        if now - self._renewed < _RESERVED.total_seconds() / 3:
            return
        self._renewed = now
        ids = self.stock.ids()
        kept = await self._db.run(store.renew, ids, process=self.process, until=self._clock.now() + _RESERVED)
        self.stock.forget(set(ids) - kept)

    async def _reserve(self, template: Poolable) -> None:
        wanted = self.target(template.name) - self.stock.count(template.name, template.version)
        if wanted <= 0:
            return
        now = self._clock.now()
        names = await self._db.run(
            store.reserve,
            template.name,
            template.version,
            process=self.process,
            limit=wanted,
            now=now,
            until=now + _RESERVED,
        )
        self.stock.add(Slot(each, template.name, template.version) for each in names)

    async def _build(self, template: Poolable, count: int, speed: float) -> None:
        """Build one batch: rows first, so that a crash at any point leaves something the reaper can find."""
        started = time.monotonic()
        now = self._clock.now()
        slots = [self._new(template) for _ in range(count)]
        names = [slot.names for slot in slots]
        await self._db.run(store.insert, slots, now=now, lease_until=now + self._lease)
        crashpoint("fill.inserted")
        expires_at = now + self._settings.oldest + self._max_ttl
        try:
            contents = template.sql if isinstance(template, BuiltIn) else ""
            await self._backends.provision_many(names, expires_at=expires_at, seed=contents)
            if not isinstance(template, BuiltIn):
                for each in names:
                    await seed(template, login=partial(self._backends.postgres.login, each), environment={})
        except BaseException as error:
            await self._abandon(names, error)
            raise
        crashpoint("fill.built")
        await self._db.run(store.mark_ready, [each.id for each in names], now=self._clock.now())
        crashpoint("fill.ready")
        self.beat()
        # the rest of this batch's share of the rate
        await self._pause(count / speed - (time.monotonic() - started))

    async def _pause(self, seconds: float) -> None:
        """Sleep, and learn how late the process is."""
        ends = time.monotonic() + max(0.0, seconds)
        await asyncio.sleep(max(0.0, seconds))
        self._late = time.monotonic() - ends

    def _new(self, template: Poolable) -> Slot:
        names = Names.for_sandbox(new_id(), cell=self._cell, database=self._backends.postgres.arenas.current)
        return Slot(names, template.name, template.version)

    async def _abandon(self, names: Sequence[Names], error: BaseException) -> None:
        reason = error.detail if isinstance(error, Problem) else type(error).__name__
        # together: a backend that says nothing is waited for once
        await asyncio.gather(*(self._retire(each.id, f"filling failed: {reason}", recut=True) for each in names))

    async def _drain(self, current: Sequence[tuple[str, str]]) -> bool:
        """End some slots of older template versions or too old to live a full lifetime; True when there may be more."""
        oldest = self._clock.now() - self._settings.oldest
        stale = await self._db.read(store.stale, current, older_than=oldest, limit=_DRAIN)
        self.stock.forget(stale)
        for slot_id in stale:
            await self._retire(slot_id, "the template changed, or the slot is old")
        return len(stale) == _DRAIN

    async def _retire(self, slot_id: str, reason: str, *, recut: bool = False) -> None:
        try:
            # from pending only: a slot that was claimed meanwhile is somebody's sandbox
            sandbox = await self._teardown.begin(slot_id, actor=_ACTOR, reason=reason, sources=("pending",))
            await self._teardown.finish(sandbox, actor=_ACTOR, recut=recut)
        except (Conflict, NotFound):
            # claimed, or ended by somebody else, in the meantime
            return
        except Unavailable as problem:
            _log.warning("a slot is left to the reaper", sandbox_id=slot_id, error=problem.detail)
