"""The router of publishers that are not ours: CPU time per event, beside a hop that does one event after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import nats
from nats.aio.client import RawCredentials

from bench.report import figure, publish
from bench.servers import nats_alone
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing import streams
from valhalla.sandbox.routing.contracts import Sizes
from valhalla.sandbox.routing.foreign import accounts, hop_stream
from valhalla.sandbox.routing.foreign.contracts import EventSource
from valhalla.sandbox.routing.foreign.hop import Hop
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.slices.nats_accounts import StandingAccounts
from valhalla.sandbox.slices.nats_admin import NatsAdmin

TURNS = 3
EVENTS = 40_000
NAIVE = 3_000
# microseconds: 20,000 events a second and process
GOAL = 50.0
SIZES = Sizes(max_bytes=2**30)


def run() -> None:
    """Start a throw-away NATS, measure in turns and publish."""
    with nats_alone() as lent:
        import uvloop

        found = uvloop.run(_measure(lent.url, lent.cell))
    figures = [
        figure("router: stream to lane, at least once with dedup, CPU", "us/event", found["cpu"], GOAL),
        figure("router: stream to lane, at least once with dedup", "us/event", found["wall"], GOAL),
        figure("one after the other (nats-py): fetch, publish, acknowledge", "us/event", found["naive"], None),
    ]
    publish("Publishers that are not ours: one router process, one NATS server on the same cores", figures)


async def _measure(url: str, cell: CellKey) -> dict[str, list[float]]:
    operator, control = natsauth.operator_key(cell), natsauth.control_creds(cell)
    admin = NatsAdmin(url, operator, natsauth.system_creds(cell), timeout=5)
    await StandingAccounts(admin, operator).put(accounts.fresh(cell, "apps"))
    await admin.close()
    link = await Link.open(url, control, name="bench")
    await streams.ensure(link, SIZES)
    found: dict[str, list[float]] = {"cpu": [], "wall": [], "naive": []}
    for turn in range(TURNS):
        source = EventSource(f"t{turn}", f"t{turn}.{{key}}.{{type}}", "tenant", way="router")
        creds = accounts.credentials(cell, source, "account")
        hop = Hop(source, url, creds=creds, control=control, sizes=SIZES)
        async with _running(hop):
            pass
        await _fill(url, creds, source.name, EVENTS + NAIVE)
        hop = Hop(source, url, creds=creds, control=control, sizes=SIZES)
        started, cpu = time.perf_counter(), time.process_time()
        async with _running(hop):
            while hop.moved < EVENTS:
                await asyncio.sleep(0.005)
            spent, wall, moved = time.process_time() - cpu, time.perf_counter() - started, hop.moved
        found["cpu"].append(spent / moved * 1e6)
        found["wall"].append(wall / moved * 1e6)
        found["naive"].append(await _naive(url, creds, control, hop_stream.name_of(source), turn))
    await link.close()
    return found


@asynccontextmanager
async def _running(hop: Hop) -> AsyncGenerator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(hop.run(stop))
    while not hop.sessions or len(hop.parts) < 16:
        await asyncio.sleep(0.005)
    yield
    stop.set()
    await task


async def _fill(url: str, creds: str, name: str, count: int) -> None:
    link = await Link.open(url, creds, name="publisher")
    answered = 0

    def answer(*_: Any) -> None:
        nonlocal answered
        answered += 1

    link.subscribe(f"{link.inbox}.a", answer)
    body = b'{"x":"' + b"y" * 248 + b'"}'
    for number in range(count):
        link.publish(f"{name}.k{number % 1000}.made", body, reply=f"{link.inbox}.a")
        while number - answered > 1500:
            await asyncio.sleep(0.001)
    while answered < count:
        await asyncio.sleep(0.001)
    await link.close()


async def _naive(url: str, creds: str, control: str, stream: str, turn: int) -> float:
    """Do what the old router did: one message is fetched, looked up, published, waited for and acknowledged."""
    reader = await nats.connect(url, user_credentials=RawCredentials(creds))
    writer = await nats.connect(url, user_credentials=RawCredentials(control))
    pulling = await reader.jetstream().pull_subscribe("_VH.>", durable="naive", stream=stream)
    lanes, routes = writer.jetstream(), dict[str, str]()
    started, done = time.perf_counter(), 0
    while done < NAIVE:
        for message in await pulling.fetch(100):
            key = message.subject.split(".")[2]
            lane = routes.get(key)
            subject = f"ev.p.tenant.{key}.naive" if lane is None else f"ev.s.{lane}.tenant.{key}.naive"
            await lanes.publish(
                subject, message.data, headers={"Nats-Msg-Id": f"n{turn}-{message.metadata.sequence.stream}"}
            )
            await message.ack()
            done += 1
    spent = time.perf_counter() - started
    await reader.close()
    await writer.close()
    return spent / done * 1e6


if __name__ == "__main__":
    run()
