"""A worker: takes jobs, runs them side by side, and gives the outcomes back in batches."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database
from valhalla.kit.listening import listening
from valhalla.kit.log import get_logger
from valhalla.kit.sqlstates import sqlstate
from valhalla.kit.waiting import Backoff, first_of
from valhalla.work import engine, kinds, store, turn
from valhalla.work.contracts import Ended
from valhalla.work.draining import Draining
from valhalla.work.pulse import Pulse
from valhalla.work.registry import Jobs
from valhalla.work.rules import SUSPECT, Tides
from valhalla.work.running import Attempt
from valhalla.work.seats import Seats
from valhalla.work.settling import Settling
from valhalla.work.threads import Threads

_log = get_logger("work")
_SWEEP: Final = 5.0
_PRUNE: Final = 3600.0


class Worker:
    """Runs the jobs of ``jobs``. Any number may live in any number of processes; the database decides who has what."""

    def __init__(
        self,
        db: Database,
        jobs: Jobs,
        *,
        concurrency: int = 32,
        beat: float = 0.75,
        stale: float = 3.0,
        poll: float = 1.0,
        grace: float = 10.0,
        hold_after: float = 10.0,
        keep_for: timedelta = timedelta(days=7),
        alive: Callable[[], None] = lambda: None,
        name: str | None = None,
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        """``concurrency`` jobs at most run here at once.

        In seconds: a sign of life every ``beat``, a worker without one for ``stale`` is dead to others, ``poll`` bounds
        what a missed wake-up costs, and at the end jobs have ``grace`` to finish. A job that has been due for
        ``hold_after``, and that no live worker knows, is held. Finished jobs are forgotten after
        ``keep_for``, dead ones never. ``alive`` is called about every ``poll`` while it can take jobs or is full.
        By ``name``, that of its heartbeat, it can be ordered to take no more; while it is ``paused`` none begins here.
        """
        self.id = uuid4()
        self._db = db
        self._jobs = jobs
        self._beat = beat
        self._stale = stale
        self._poll = poll
        self._grace = grace
        self._keep_for = keep_for
        self._alive = alive
        self._seats = Seats(concurrency, self._attempt)
        self._threads = Threads()
        self._one_suspect = asyncio.Lock()
        self._wake = asyncio.Event()
        self._settling = Settling(db, self.id)
        self._tides = Tides(min(1.0, stale))
        self._rescued = 0.0
        self._hold_after = hold_after
        self._draining = Draining(db, name, every=poll)
        self._paused = paused
        self._shares_seats = any(queue.is_limited for queue in jobs.used_queues.values())
        self.last_error: str | None = None

    def status(self) -> dict[str, Any]:
        """Describe the worker for ``/ready``."""
        running, drained = len(self._seats.attempts), self._draining.is_on
        return {"id": str(self.id), "running": running, "draining": drained, "error": self.last_error}

    @property
    def is_idle(self) -> bool:
        """Whether no job's function is under way here."""
        return not self._seats.attempts

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; then let jobs finish or hand them back. A lost database is waited for."""
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(engine.warm)
        pulse = Pulse(
            self._db,
            self.id,
            lambda: list(self._seats.attempts.values()),
            lambda ids: loop.call_soon_threadsafe(self._end, ids) and None,
            written=lambda: self._settling.written,
            every=self._beat,
        )
        pulse.start()
        finished = asyncio.Event()
        helpers = [
            asyncio.create_task(self._listen(stop)),
            asyncio.create_task(self._sweep(stop)),
            asyncio.create_task(self._settling.run(finished)),
        ]
        try:
            await self._serve(stop)
            await self._drain()
        finally:
            finished.set()
            # outcomes that are still to be written are worth waiting for, though not for ever
            _, late = await asyncio.wait(helpers, timeout=self._grace)
            for task in (*late, *self._seats.tasks):
                task.cancel()
            await asyncio.gather(*helpers, *self._seats.tasks, return_exceptions=True)
            pulse.stop()
            self._threads.close()

    async def _serve(self, stop: asyncio.Event) -> None:
        backoff = Backoff(0.2, 5.0)
        while not stop.is_set():
            resting = await self._draining.look(len(self._seats.attempts)) or self._paused()
            self._hand_back(self._seats.overdue(everything=resting))
            if resting or (wanted := self._seats.wanted) == 0:
                self._alive()
                self._seats.freed.clear()
                await first_of(stop, self._seats.freed, seconds=0.1 if self._seats.has_waiting else self._poll)
                continue
            self._wake.clear()
            try:
                due = await self._take(wanted)
                self.last_error = None
                self._alive()
                backoff.reset()
            except Exception as error:  # noqa: BLE001 - whatever it is, the worker goes on and says so
                self.last_error = error.detail if isinstance(error, Unavailable) else f"{type(error).__name__}: {error}"
                _log.warning("the worker cannot take jobs", error=self.last_error)
                await first_of(stop, seconds=backoff.next())
                continue
            if due is None or due > 0:
                pause = self._poll if due is None else min(due, self._poll)
                await first_of(stop, self._wake, seconds=min(pause, 0.1) if self._seats.has_waiting else pause)

    async def _take(self, most: int) -> float | None:
        """Take and begin jobs; return the seconds until more are due, 0 when there may be more at once."""
        stale = await self._patience()
        mine = {key: attempt.job.generation for key, attempt in self._seats.attempts.items()}
        try:
            jobs, due = await self._db.run(turn.take, self._jobs, self.id, most=most, stale=stale, mine=mine)
        except Exception as error:
            if sqlstate(error) in engine.LOST_RACES:
                return 0.05
            raise
        for job in jobs:
            self._seats.add(Attempt(job, self._jobs.known(job.name), self._threads, self._jobs.roots))
        return 0.0 if len(jobs) == most else due

    async def _patience(self) -> float | None:
        """Return the seconds of silence that mean death, now and then; mostly nobody is asked for."""
        now = time.monotonic()
        if now - self._rescued < 0.9 * self._poll:
            return None
        self._rescued = now
        return self._stale if self._tides.look(await self._db.read(engine.clock), now, most=self._stale / 2) else None

    def _hand_back(self, attempts: Iterable[Attempt]) -> None:
        for attempt in attempts:
            self._give_back(attempt, attempt.unbegun())

    def _give_back(self, attempt: Attempt, ended: Ended | None) -> None:
        attempt.over = True
        if ended is None:
            self._seats.leave(attempt.job)
        else:
            self._settling.add(ended, lambda: self._seats.leave(attempt.job))

    async def _attempt(self, attempt: Attempt) -> None:
        ended: Ended | None = None
        try:
            if attempt.job.crashes >= SUSPECT:
                async with self._one_suspect:
                    if await self._db.run(store.start, attempt.job):
                        ended = await attempt.run()
            else:
                ended = await attempt.run()
        except Exception:  # noqa: BLE001 - not the job's fault: it goes to whom it is stale for
            _log.exception("a job could not be run", job=attempt.job.id)
        self._give_back(attempt, ended)

    def _end(self, ids: Iterable[str]) -> None:
        for key in ids:
            if (attempt := self._seats.attempts.get(key)) is not None:
                attempt.end("cancelled")

    async def _drain(self) -> None:
        """Let what runs finish, then hand back what can be handed back."""
        deadline = time.monotonic() + self._grace
        self._hand_back(self._seats.overdue(everything=True))
        while (tasks := self._seats.tasks) and time.monotonic() < deadline:
            await asyncio.wait(tasks, timeout=deadline - time.monotonic())
        for attempt in list(self._seats.attempts.values()):
            attempt.end("stopping")
        if tasks := self._seats.tasks:
            # a thread that does not look at its context ends with the process, and others take its job over
            await asyncio.wait(tasks, timeout=2.0)
        if ids := [key for key, attempt in self._seats.attempts.items() if not attempt.over]:
            # that its worker was stopped is not the job's fault
            with contextlib.suppress(Unavailable):
                await self._db.run(store.forgive, self.id, ids)

    async def _listen(self, stop: asyncio.Event) -> None:
        backoff = Backoff(0.2, 5.0)
        while not stop.is_set():
            try:
                async with listening(self._db, engine.CHANNEL, self._hear) as link:
                    backoff.reset()
                    self._wake.set()
                    while not await first_of(stop, link.lost, seconds=_SWEEP):
                        await link.check()
            except Unavailable as problem:
                _log.warning("the worker hears of new jobs by asking only", error=problem.detail)
            await first_of(stop, seconds=backoff.next())

    def _hear(self, payload: str) -> None:
        # what was taken out frees seats of a limited queue, and is nothing to an unlimited one
        if self._shares_seats or '"delete"' not in payload:
            self._wake.set()

    async def _sweep(self, stop: asyncio.Event) -> None:
        pruned = 0.0
        # by the database's clock a worker may look silent that lives: all have named their jobs again by then
        tides = Tides(self._hold_after)
        while True:
            try:
                trusted = tides.look(await self._db.read(engine.clock), time.monotonic(), most=_SWEEP)
                await self._db.run(turn.look_after_names, self._jobs, patience=self._hold_after if trusted else None)
                if time.monotonic() - pruned > _PRUNE:
                    await self._db.run(store.prune, self._keep_for)
                    await self._db.run(kinds.prune)
                    pruned = time.monotonic()
            except Unavailable:
                pass  # the loop that takes jobs says so
            except Exception:  # noqa: BLE001 - the next sweep tries again
                _log.exception("held jobs could not be looked at")
            if await first_of(stop, seconds=_SWEEP):
                return
