"""A control plane on servers that a test takes down, freezes and brings back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.conftest import Servers
from tests.sandbox.plane import MovableClock, Team, remains

from valhalla.sandbox.contracts import ReapReport

BACKENDS = ["postgres", "valkey", "nats"]


_ASK = {"postgres": signal.SIGINT, "valkey": signal.SIGTERM, "nats": signal.SIGTERM}


class World(Team):
    """A control plane on servers that a test takes down."""

    servers: Servers
    clock: MovableClock

    def down(self, name: str) -> None:
        """Stop one server."""
        pid = self.servers.stack.pids()[name]
        os.kill(pid, _ASK[name])
        end = time.monotonic() + 10
        while name in self.servers.stack.pids():
            assert time.monotonic() < end
            time.sleep(0.005)

    def up(self, *names: str) -> None:
        """Start what is down."""
        for name in names or BACKENDS:
            if name not in self.servers.stack.pids():
                self.servers.stack.restart(name)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Let a server be reachable, but silent."""
        pids = [self.servers.stack.pids()[name]]
        # Postgres has a process for each session
        pids += map(int, Path(f"/proc/{pids[0]}/task/{pids[0]}/children").read_text().split())
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    async def left(self, sandbox_id: str) -> list[str]:
        return await remains(self.runtime, sandbox_id, str(self.servers.endpoints.valkey_url))

    async def reap(self) -> ReapReport:
        """Run the reaper when every lease is out and every orphan is old."""
        self.clock.ahead = timedelta(seconds=2)
        try:
            return await self.runtime.reaper.once()
        finally:
            self.clock.ahead = timedelta(0)

    async def newest(self) -> Any:
        return (await self.all())[0]
