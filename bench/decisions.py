"""CrowdSec's bouncers: 100,000 decisions in one pull with its memory, and what 10,000 pollers of changes cost.

In process, without a socket: seconds are of the wall, costs of this process's CPU; Postgres works in its own.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any, Final

from bench.plane import folder
from bench.report import Figure, figure, publish
from valhalla.embedded import Stack
from valhalla.features.security.blocklist.importing import Given
from valhalla.features.security.crowdsec.cursors import Bouncer
from valhalla.kernel.principal import SYSTEM
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.kit.settings import Settings

DECISIONS: Final = int(os.environ.get("BENCH_DECISIONS", "100000"))
BOUNCERS: Final = int(os.environ.get("BENCH_BOUNCERS", "10000"))
PULLS: Final = 5
# seconds, and MiB over what the process had before
PULL, GROWTH = 3.0, 24.0


def run() -> None:
    """Start a throw-away control plane, measure and publish."""
    with folder() as data_dir:
        data_dir.mkdir(mode=0o711)
        cell = CellKey.load_or_create(data_dir / "cell.key")
        stack = Stack(data_dir, cell, nats_operator=natsauth.trust(cell))
        try:
            figures = asyncio.run(_measure(data_dir, cell, stack.start()))
        finally:
            stack.stop()
    publish("Decisions: what bouncers pull", figures)


async def _measure(data_dir: Path, cell: CellKey, ends: Any) -> list[Figure]:
    from valhalla.runtime import Runtime
    from valhalla.server.app import build
    from valhalla.server.starting import start

    runtime = Runtime(Settings(data_dir=data_dir, access_log=False), cell, ends)
    app = build(runtime)
    try:
        await start(runtime, lambda _: None)
        issued = await runtime.features.clients.service.issue(SYSTEM, owner="bouncers", scopes=["bouncer"])
        await runtime.feed.refresh()
        return await _figures(runtime, _Pulling(app, issued.key), issued.client.id)
    finally:
        await runtime.stop()


async def _figures(runtime: Any, pulling: _Pulling, client: str) -> list[Figure]:
    feature, cursors = runtime.features.blocklist, runtime.features.crowdsec.cursors
    begun = time.perf_counter()
    text = "".join(f"100.{64 + n // 65536}.{n // 256 % 256}.{n % 256}\n" for n in range(DECISIONS))
    done = await feature.intake.take(text, Given(source="bench"), actor="bench", now=runtime.clock.now(), confirm=True)
    assert done.added == DECISIONS
    await feature.keeper.refresh()
    imported = time.perf_counter() - begun
    await pulling.pull("198.18.0.1", startup=True)
    seconds: list[float] = []
    busy: list[float] = []
    growth: list[float] = []
    for _ in range(PULLS):
        Path("/proc/self/clear_refs").write_text("5")
        before = _memory("VmRSS")
        begun, worked = time.perf_counter(), time.process_time()
        size = await pulling.pull("198.18.0.1", startup=True)
        seconds.append(time.perf_counter() - begun)
        busy.append(time.process_time() - worked)
        growth.append(_memory("VmHWM") - before)
        assert size > DECISIONS * 50
    addresses = [f"198.{20 + n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(BOUNCERS)]
    # each has pulled everything; what that costs is above
    for address in addresses:
        cursors.told(Bouncer(client, address), feature.keeper.revision, None, reset=True)
    figures = [
        figure(f"import of {DECISIONS:,}", "s", [imported]),
        figure(f"full pull of {DECISIONS:,}", "s", seconds, PULL),
        figure("CPU of this process for it", "s", busy),
        figure("what it adds to the resident set", "MiB", growth, GROWTH),
        figure("resident set with the rules and cursors", "MiB", [_memory("VmRSS")]),
    ]
    for changes in (0, 1, 10, 100):
        for n in range(changes):
            await runtime.db.run(
                feature.service.block, type="ip", value=f"192.0.{changes}.{n}", reason="x", source="b", actor="b"
            )
        await feature.keeper.refresh()
        cpu, wall = time.process_time(), time.perf_counter()
        for address in addresses:
            await pulling.pull(address, startup=False)
        each = (time.process_time() - cpu) / BOUNCERS * 1e6
        figures.append(figure(f"a poll of {BOUNCERS:,} with {changes} changes", "us", [each]))
        figures.append(figure(f"all {BOUNCERS:,} of them, one after the other", "s", [time.perf_counter() - wall]))
    return figures


class _Pulling:
    """Asks the application as a server would."""

    def __init__(self, app: Any, key: str) -> None:
        self._app = app
        self._headers = [(b"x-api-key", key.encode())]

    async def pull(self, address: str, *, startup: bool) -> int:
        """Return how many bytes the answer has; none of it is kept."""
        size = 0

        async def send(message: dict[str, Any]) -> None:
            nonlocal size
            assert message.get("status", 200) == 200
            size += len(message.get("body", b""))

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(3600)
            return {"type": "http.disconnect"}

        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": "GET", "scheme": "http", "path": "/v1/decisions/stream", "raw_path": b"/v1/decisions/stream",
            "root_path": "", "query_string": b"startup=true" if startup else b"", "headers": self._headers,
            "client": (address, 1), "server": ("plane", 80),
        }  # fmt: skip
        await self._app(scope, receive, send)
        return size


def _memory(name: str) -> float:
    """Return a figure of this process's memory in MiB."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) / 1024
