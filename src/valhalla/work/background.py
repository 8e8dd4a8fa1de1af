"""What a control plane runs of this room: a worker, a ticker, and the heart that both beat."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Final

from valhalla.kernel.clock import Clock
from valhalla.kit.db import Database
from valhalla.work.heartbeats.heart import Heart, Times
from valhalla.work.registry import Jobs
from valhalla.work.schedules.ticker import Ticker
from valhalla.work.worker import Worker

# the pace of both, and what a busy machine may make of it
_PROMISE: Final = Times(interval=1.0, timeout=15.0)


class Background:
    """One per control plane. Sources carry the host's name: of two planes on a host each beats for both."""

    def __init__(self, db: Database, jobs: Jobs, *, concurrency: int, clock: Clock) -> None:
        """``concurrency`` 0 means no worker; schedules are looked at all the same."""
        host = host_label()
        worker, ticker = f"worker.{host}", f"ticker.{host}"
        sources = {ticker: _PROMISE, **({worker: _PROMISE} if concurrency else {})}
        self.jobs = jobs
        self.heart = Heart(db, sources, clock=clock)
        self.ticker = Ticker(db, jobs, beat=lambda: self.heart.beat(ticker))
        self.worker = (
            Worker(db, jobs, concurrency=concurrency, grace=2.0, alive=lambda: self.heart.beat(worker))
            if concurrency
            else None
        )

    def start(self, stop: asyncio.Event) -> list[asyncio.Task[None]]:
        """Start all parts; they end when ``stop`` is set."""
        parts = {"ticker": self.ticker.run(stop), "heart": self.heart.run(stop)}
        if self.worker is not None:
            parts["worker"] = self.worker.run(stop)
        return [asyncio.create_task(part, name=name) for name, part in parts.items()]


def host_label() -> str:
    """Return the host's name as a token of a heartbeat's name."""
    return re.sub(r"[^a-z0-9_-]", "-", socket.gethostname().lower()).strip("-_")[:63] or "host"
