"""Live events with one sandbox and with five thousand: is the throughput the same, and what does a lane cost?

Each sandbox has a claimed key, its lane's consumer and two events there that nobody has read. The same ingress code
publishes to the claimed keys, in turns with one of a single sandbox, over one NATS server on the same cores.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from pathlib import Path
from typing import Final

from bench.report import Figure, figure, publish
from bench.servers import nats_alone
from valhalla.kernel.ids import new_id
from valhalla.kit import natsauth
from valhalla.sandbox.routing import streams
from valhalla.sandbox.routing.contracts import Event, Record, Sizes
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.sandbox.routing.lanes import open_lane
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.routing.table import encode

SANDBOXES: Final = int(os.environ.get("BENCH_LANES", "5000"))
EVENTS: Final = 50_000
TURNS: Final = 4


def run() -> None:
    """Start a throw-away NATS, measure and publish."""
    with nats_alone() as lent:
        figures = asyncio.run(_measure(lent.url, natsauth.control_creds(lent.cell), lent.data_dir))
    publish("Lanes: one sandbox and thousands", figures)


async def _measure(url: str, creds: str, data_dir: Path) -> list[Figure]:
    link = await Link.open(url, creds, name="bench")
    await streams.ensure(link, Sizes(max_bytes=2**31))
    server = int(subprocess.check_output(["pgrep", "-f", f"nats-server.*{data_dir}"], text=True).split()[0])
    alone = [await _publish(url, creds, 1, f"alone{turn}") for turn in range(-1, TURNS)][1:]
    before = _resident(server)
    for number in range(1, SANDBOXES):
        await _claim(link, number)
    await _publish(url, creds, SANDBOXES, "warm", 2 * SANDBOXES)
    # what a server keeps of a connection's or a write's buffers comes and goes: the least of some looks counts
    sizes: list[int] = []
    for _ in range(10):
        sizes.append(_resident(server))
        await asyncio.sleep(1)
    each = (min(sizes) - before) / SANDBOXES / 1024
    many: list[float] = []
    for turn in range(TURNS):
        many.append(await _publish(url, creds, SANDBOXES, f"many{turn}"))
        alone.append(await _publish(url, creds, 1, f"again{turn}"))
    await link.close()
    return [
        figure("published, to one sandbox", "1/s", alone),
        figure(f"published, to {SANDBOXES:,} sandboxes", "1/s", many),
        figure("throughput: many of one", "x", [sorted(many)[TURNS // 2] / sorted(alone)[TURNS]], floor=0.9),
        figure("memory of the server for each sandbox", "KB", [each], 45),
    ]


async def _claim(link: Link, number: int) -> None:
    sandbox = new_id()
    await open_lane(link, sandbox)
    await link.store(f"rt.tenant.k{number}", encode(Record("tenant", sandbox)))


async def _publish(url: str, creds: str, keys: int, turn: str, events: int = EVENTS) -> float:
    if keys == 1:
        link = await Link.open(url, creds, name="bench")
        await _claim(link, 0)
        await link.close()
    ingress = Ingress(url, creds, name="bench")
    await ingress.start(wait=30)
    body, started = b"x" * 256, time.perf_counter()
    for number in range(events):
        if number % 100 == 0:
            await ingress.outgoing.room()
        ingress.outgoing.post(Event("tenant", f"k{number % keys}", "t", body, f"{turn}-{number}"))
    await ingress.flush()
    rate = events / (time.perf_counter() - started)
    await ingress.stop()
    return rate


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
