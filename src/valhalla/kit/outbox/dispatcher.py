"""Deliver events to sinks. One process at a time dispatches; when it dies another takes over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from valhalla.kernel.problems import Unavailable
from valhalla.kit import trace
from valhalla.kit.advisory import OUTBOX_DISPATCH
from valhalla.kit.db import Database
from valhalla.kit.listening import Link, listening
from valhalla.kit.load import Load
from valhalla.kit.log import get_logger
from valhalla.kit.outbox import store
from valhalla.kit.outbox.events import Event, Sink
from valhalla.kit.outbox.lane import Lane, Nobody
from valhalla.kit.spans import Local, Roots, Span
from valhalla.kit.waiting import Backoff, first_of

log = get_logger("outbox")
_CHECK: Final = 5.0
_GRACE: Final = 3.0
_GATHER: Final = 0.02
_YIELD: Final = 0.25


class Dispatcher:
    """Delivers at least once, in the order of ids per subject, and marks what every sink has taken."""

    def __init__(
        self,
        db: Database,
        sinks: Sequence[Sink],
        *,
        batch: int = 100,
        poll: float = 1.0,
        patience: float = 30.0,
        load: Load | None = None,
    ) -> None:
        """``batch`` events go to a sink at once, which has ``patience`` seconds for them.

        ``poll`` is the longest time in seconds until it looks again. Without sinks events are marked at once.
        A burst of ``load``'s callers goes first.
        """
        self._db = db
        self._batch = batch
        self._poll = poll
        self._patience = patience
        self._load = load or Load()
        self._lanes = [Lane(type(sink).__name__, sink) for sink in sinks or [Nobody()]]
        self._leading = False
        self.roots: Roots | None = None
        """Told of the span of each delivery whose cause is sampled."""
        self.beat: Callable[[], None] = lambda: None
        """Called every few seconds, whether it leads or waits to."""

    def status(self) -> dict[str, Any]:
        """Describe the dispatcher for ``/ready`` and ``/metrics``."""
        return {
            "leading": self._leading,
            "sinks": [{"name": lane.name, "error": lane.error, "ahead": len(lane.taken)} for lane in self._lanes],
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; a lost database is waited for."""
        backoff = Backoff(0.2, 5.0)
        while not stop.is_set():
            try:
                async with listening(self._db, store.CHANNEL, self._hear) as link:
                    backoff.reset()
                    # the lock belongs to this connection: the server frees it when the process or the network dies
                    if await link.value("SELECT pg_try_advisory_lock($1)", OUTBOX_DISPATCH):
                        await self._lead(link, stop)
                    else:
                        await self._wait_for_lead(link, stop)
            except Unavailable as problem:
                log.warning("event delivery waits for the database", error=problem.detail)
            except Exception:
                log.exception("event delivery failed and begins again")
            self.beat()
            await first_of(stop, seconds=backoff.next())

    async def _wait_for_lead(self, link: Link, stop: asyncio.Event) -> None:
        self.beat()
        while not await first_of(stop, link.lost, seconds=self._poll):
            self.beat()
            if await link.value("SELECT pg_try_advisory_lock($1)", OUTBOX_DISPATCH):
                return await self._lead(link, stop)
        return None

    async def _lead(self, link: Link, stop: asyncio.Event) -> None:
        self._leading = True
        for lane in self._lanes:
            lane.taken.clear()
        end = asyncio.Event()
        tasks = [asyncio.create_task(self._serve(lane, end), name=f"outbox-{lane.name}") for lane in self._lanes]
        try:
            self.beat()
            while not await first_of(stop, link.lost, seconds=_CHECK):
                await link.check()
                self.beat()
        finally:
            self._leading = False
            end.set()
            if not link.lost.is_set():
                # what was delivered should also be marked, or it is delivered again at the next start
                await asyncio.wait(tasks, timeout=_GRACE)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, lane: Lane, end: asyncio.Event) -> None:
        backoff = Backoff(0.2, 30.0)
        while not end.is_set():
            try:
                full = await self._pass(lane)
                lane.error = None
                backoff.reset()
            except Exception as error:  # noqa: BLE001 - a sink may raise anything; it is logged and tried again
                lane.error = error.detail if isinstance(error, Unavailable) else f"{type(error).__name__}: {error}"
                pause = backoff.next()
                log.warning("events wait for a sink", sink=lane.name, error=lane.error, pause=round(pause, 2))
                await first_of(end, seconds=pause)
                continue
            if not full:
                if await first_of(lane.wake, end, seconds=self._poll):
                    # what woke it is mostly followed by more, and by the work that caused it, which goes first
                    await first_of(end, seconds=_GATHER)
                lane.wake.clear()

    async def _pass(self, lane: Lane) -> bool:
        """Deliver one batch; say whether more may wait."""
        await self._load.quiet(_YIELD)
        await self._settle()
        if lane.is_far_ahead:
            return False
        events = await self._db.read(store.unsent, taken=sorted(lane.taken), limit=self._batch)
        if not events:
            return False
        began = time.time()
        async with asyncio.timeout(self._patience):
            await lane.sink.deliver(events)
        if self.roots is not None:
            self._tell(self.roots, lane.name, events, began)
        lane.taken.update(event.id for event in events)
        await self._settle()
        return len(events) == self._batch

    def _tell(self, roots: Roots, sink: str, events: Sequence[Event], began: float) -> None:
        seconds = max(0.0, time.time() - began)
        for event in events:
            caller = trace.parse(event.traceparent)
            if caller is not None and caller.sampled:
                here = caller.child()
                name = f"deliver {event.type}"
                about = {"event.subject": event.subject, "sink": sink, "batch": len(events)}
                span = Span(here.trace_id, here.span_id, here.parent_id, name, "producer", began, seconds, False, about)
                roots.end(span, Local(), event.correlation_id, None, sampled=True)

    async def _settle(self) -> None:
        """Mark what every sink has taken."""
        done = set(self._lanes[0].taken)
        for lane in self._lanes:
            done &= lane.taken
        if done:
            await self._db.run(store.mark_sent, sorted(done))
            for lane in self._lanes:
                lane.taken -= done

    def _hear(self, payload: str) -> None:
        # with words in it, it is a hint to who looks, and there is no event to deliver
        if not payload:
            for lane in self._lanes:
                lane.wake.set()
