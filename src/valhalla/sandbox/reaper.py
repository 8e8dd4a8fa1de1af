"""The reaper: ends what has expired, finishes what hangs, sweeps what nobody owns."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Generator, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Conflict, NotFound, Problem, Unavailable
from valhalla.kit import lifecycle
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import first_of
from valhalla.sandbox import store
from valhalla.sandbox.arenas import ArenaKeeper
from valhalla.sandbox.backends import Backends
from valhalla.sandbox.contracts import LIFECYCLE, ReapReport
from valhalla.sandbox.quota import Watchdog
from valhalla.sandbox.slices.contracts import Found
from valhalla.sandbox.tables import sandboxes
from valhalla.sandbox.teardown import Teardown, Timing, lease_end
from valhalla.sandbox.upkeep import Upkeep

T = TypeVar("T")
_log = get_logger("sandbox.reaper")
_BATCH = 200
_AT_ONCE = 8
# how far the clocks of two control planes may differ, and how far one may jump without being doubted
_SKEW = timedelta(minutes=2)
_ACTOR = "reaper"


class Reaper:
    """Runs every ``interval`` in the background, or once on demand. Several processes may run one each."""

    def __init__(
        self,
        db: Database,
        backends: Backends,
        ledger: Ledger,
        teardown: Teardown,
        *,
        clock: Clock | None = None,
        timing: Timing | None = None,
        interval: timedelta = timedelta(seconds=15),
        arenas: ArenaKeeper | None = None,
        watchdog: Watchdog | None = None,
        upkeep: Upkeep | None = None,
    ) -> None:
        self._db = db
        self._backends = backends
        self._ledger = ledger
        self._teardown = teardown
        self._clock = clock or Clock()
        self._timing = timing or Timing()
        self._arenas = arenas
        self._watchdog = watchdog
        self._upkeep = upkeep
        self._interval = interval.total_seconds()
        self._valkey_run: str | None = None
        self._restoring = asyncio.Lock()
        self._offset: float | None = None
        self.last_run: float | None = None
        self.last_error: str | None = None
        self.beat: Callable[[], None] = lambda: None
        """Called when it begins and after each run, whatever came of it."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; a run that fails is logged and repeated."""
        # the first run may find the leavings of a crash: who asks meanwhile should hear that it lives
        self.beat()
        if self._watchdog is not None:
            self._watchdog.beat()
        while not stop.is_set():
            try:
                if self._jumped():
                    _log.warning("the clock has jumped: nothing is ended until it has stayed so")
                    self.beat()
                    await first_of(stop, seconds=min(self._interval, 5.0))
                    continue
                report = await self.once()
                away = [report.failed[part.name] for part in self._backends if part.name in report.failed]
                self.last_run, self.last_error = self._clock.monotonic(), "; ".join(away) or None
                if report.destroyed or report.removed or report.failed:
                    _log.info(
                        "reaped",
                        destroyed=len(report.destroyed),
                        failed=report.failed,
                        removed=report.removed,
                    )
                if self._upkeep is not None:
                    self._upkeep.nudge()
            except Unavailable as problem:
                self.last_error = problem.detail
                _log.warning("the reaper waits for a backend", backend=problem.backend)
            except Exception as error:  # noqa: BLE001 - a loop that dies would leave sandboxes alive for ever
                self.last_error = f"{type(error).__name__}: {error}"
                _log.exception("the reaper failed and will try again")
            self.beat()
            with contextlib.suppress(TimeoutError):
                # jitter keeps several control planes from reaping in step
                await asyncio.wait_for(stop.wait(), self._interval * random.uniform(0.9, 1.1))  # noqa: S311
        if self._upkeep is not None:
            await self._upkeep.stop()

    def _jumped(self) -> bool:
        """Say whether the wall clock was set since the last time: what is wrong for a moment must not end sandboxes."""
        offset = self._clock.now().timestamp() - self._clock.monotonic()
        before, self._offset = self._offset, offset
        return before is not None and abs(offset - before) > _SKEW.total_seconds()

    async def once(self, *, dry_run: bool = False) -> ReapReport:
        """Do everything that is due; ``dry_run`` only reports it.

        A backend that is away is reported in ``failed`` and keeps nothing from being done in the others.

        Raises:
            Unavailable: the registry cannot be reached.
        """
        report = ReapReport(dry_run)
        if not dry_run:
            with _noting(report):
                await self.restore_users()
            with _noting(report):
                await self._db.run(store.touch, await self._backends.postgres.activity())
                if self._arenas is not None:
                    report.arenas_dropped = await self._arenas.once()
        await self._expire(report)
        await self._resume(report)
        await self._sweep(report)
        if self._watchdog is not None and not dry_run:
            await self._watchdog.once(report)
        return report

    async def restore_users(self) -> None:
        """Give the live sandboxes their ACL users back if Valkey has been restarted, which forgets them.

        Raises:
            Unavailable: Valkey or the registry cannot be reached.
        """
        async with self._restoring:
            run = await self._backends.valkey.run_id()
            if run != self._valkey_run:
                await self._push_users()
                self._valkey_run = run

    async def _push_users(self) -> None:
        valkey = self._backends.valkey
        names = [each for each in await self._db.read(store.live_names) if valkey.name in each.slices]
        await valkey.ensure(names)
        # one that was cut between the reading and the push has a user again: whoever is marked later cuts later
        live = set(await self._db.read(store.live_names))
        for ended in names:
            if ended not in live:
                await valkey.cut(ended)

    async def _expire(self, report: ReapReport) -> None:
        due = await self._db.read(store.due, now=self._clock.now(), limit=_BATCH)
        report.expired.extend(due)
        if not report.dry_run:
            await _a_few_at_a_time(due, lambda sandbox_id: self._end_expired(sandbox_id, report))

    async def _end_expired(self, sandbox_id: str, report: ReapReport) -> None:
        with contextlib.suppress(Conflict, NotFound):
            await self._db.run(
                lifecycle.take,
                LIFECYCLE,
                sandboxes,
                key=sandbox_id,
                to="expired",
                values={"lease_until": self._clock.now()},
                where=sandboxes.c.expires_at <= self._clock.now(),
                ledger=self._ledger,
                actor=_ACTOR,
                kind="sandbox",
                details={"reason": "its time is over"},
            )
            await self._destroy(sandbox_id, "expired", report, "expired")

    async def _resume(self, report: ReapReport) -> None:
        stuck = await self._db.read(store.stuck, now=self._clock.now(), horizon=self._horizon(), limit=_BATCH)
        known = {*report.expired, *report.failed}
        found = [(sandbox_id, status) for sandbox_id, status in stuck if sandbox_id not in known]
        report.resumed.extend(sandbox_id for sandbox_id, _ in found)
        if not report.dry_run:
            await _a_few_at_a_time(found, lambda each: self._resume_one(*each, report))

    async def _resume_one(self, sandbox_id: str, status: str, report: ReapReport) -> None:
        if status == "destroying":
            await self._finish(sandbox_id, report)
        else:
            await self._destroy(sandbox_id, f"stuck in {status}", report, status, failed=status != "expired")

    async def _destroy(
        self, sandbox_id: str, reason: str, report: ReapReport, source: str, *, failed: bool = False
    ) -> None:
        try:
            action = "failed" if failed else "destroying"
            # from the state it was found in only: a creation that was slow, not dead, may have made it running
            sandbox = await self._teardown.begin(
                sandbox_id, actor=_ACTOR, action=action, reason=reason, sources=(source,)
            )
            done = await self._teardown.finish(sandbox, actor=_ACTOR)
        except (Conflict, NotFound):
            # another process or a user was faster and finishes it
            return
        except Problem as problem:
            report.failed[sandbox_id] = problem.detail
            return
        self._book(sandbox_id, report, done=done)

    async def _finish(self, sandbox_id: str, report: ReapReport) -> None:
        now = self._clock.now()
        until = lease_end(self._clock, self._timing)
        if not await self._db.run(store.take_lease, sandbox_id, now=now, horizon=self._horizon(), until=until):
            return
        sandbox = await self._db.read(store.find, sandbox_id)
        assert sandbox is not None
        done = await self._teardown.finish(sandbox, actor=_ACTOR, recut=True)
        self._book(sandbox_id, report, done=done)

    def _horizon(self) -> datetime:
        return self._clock.now() + 2 * self._timing.lease + _SKEW

    def _book(self, sandbox_id: str, report: ReapReport, *, done: bool) -> None:
        if done:
            report.destroyed.append(sandbox_id)
        else:
            report.failed[sandbox_id] = "something is left; the next run tries again"

    async def _sweep(self, report: ReapReport) -> None:
        """Remove what carries our mark but belongs to no sandbox, once it has been so for the grace period."""
        found: list[Found] = []
        listed: list[str] = []
        for part in self._backends:
            with _noting(report):
                found.extend(await part.found())
                listed.append(part.name)
        # the registry is read after the listing: a sandbox made in between has its row already
        ended = await self._db.read(store.ended, {item.sandbox_id for item in found})
        orphans = [item for item in found if item.sandbox_id in ended]
        report.orphans.extend(_document(item) for item in orphans)
        if report.dry_run:
            return
        now = self._clock.now()
        first_seen = await self._db.run(store.suspect, orphans, slices=listed, now=now)
        # roles go after the schemas that they own
        ripe = [item for item in orphans if now - first_seen.get(item, now) >= self._timing.orphan_grace]
        for item in sorted(ripe, key=lambda each: each.kind == "role"):
            part = next(each for each in self._backends if each.name == item.slice)
            try:
                await part.remove(item)
            except Problem as problem:
                report.failed[f"{item.slice}:{item.name}"] = problem.detail
                continue
            await self._db.run(
                self._ledger.append,
                actor=_ACTOR,
                action="orphan_removed",
                kind="sandbox",
                subject=item.sandbox_id,
                details=_document(item),
            )
            report.removed.append(_document(item))


async def _a_few_at_a_time(items: Sequence[T], work: Callable[[T], Coroutine[Any, Any, None]]) -> None:
    """Do the same for each; a backend that says nothing holds up a few of them at once, not each after the other.

    Raises:
        the first failure, after what was under way has ended.
    """
    for start in range(0, len(items), _AT_ONCE):
        results = await asyncio.gather(
            *(work(item) for item in items[start : start + _AT_ONCE]), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result


@contextlib.contextmanager
def _noting(report: ReapReport) -> Generator[None]:
    """Note a backend that is away and go on without it."""
    try:
        yield
    except Unavailable as problem:
        report.failed[problem.backend] = problem.detail


def _document(item: Found) -> dict[str, str]:
    return {"slice": item.slice, "kind": item.kind, "name": item.name, "sandbox_id": item.sandbox_id}
