"""What a control plane runs of this room: a worker, a ticker, and the heart that all its parts beat."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from valhalla.kernel.clock import Clock
from valhalla.kit.db import Database
from valhalla.work.heartbeats.heart import Heart
from valhalla.work.loops import Loop, loop, sources
from valhalla.work.registry import Jobs
from valhalla.work.schedules.ticker import Ticker
from valhalla.work.worker import Worker


class Background:
    """One per control plane; ``place`` tells its heartbeats from those of others on the same database."""

    def __init__(
        self, db: Database, jobs: Jobs, *, concurrency: int, clock: Clock, place: str, loops: Sequence[Loop] = ()
    ) -> None:
        """``loops`` are further parts that beat. ``concurrency`` 0: no worker; schedules are looked at all the same."""
        own = [loop("ticker", 1.0, "submits the jobs of schedules that are due")]
        if concurrency:
            own.append(loop("worker", 1.0, "runs the control plane's own jobs"))
        self.jobs = jobs
        self.loops = sources([*own, *loops], place)
        self._names = {one.name: name for name, one in self.loops.items()}
        self.heart = Heart(db, {name: one.times for name, one in self.loops.items()}, clock=clock)
        self.ticker = Ticker(db, jobs, everybodys=True, beat=self.beats("ticker"))
        self.worker = (
            Worker(db, jobs, concurrency=concurrency, grace=2.0, alive=self.beats("worker"), name=self._names["worker"])
            if concurrency
            else None
        )

    def beat(self, part: str) -> None:
        """Say that a part lives, one of ``loops``; from any thread, and it costs a store into a dictionary."""
        self.heart.beat(self._names.get(part, part))

    def beats(self, part: str) -> Callable[[], None]:
        """Return what a part calls to say that it lives."""
        return lambda: self.beat(part)

    def start(self, stop: asyncio.Event) -> list[asyncio.Task[None]]:
        """Start all parts; they end when ``stop`` is set."""
        parts = {"ticker": self.ticker.run(stop), "heart": self.heart.run(stop)}
        if self.worker is not None:
            parts["worker"] = self.worker.run(stop)
        return [asyncio.create_task(part, name=name) for name, part in parts.items()]
