"""Live events on one NATS server: how fast an ingress publishes, what it adds to each event, how fast a claim holds."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import nats
from nats.aio.client import RawCredentials

from bench.report import Figure, figure, publish
from bench.servers import nats_alone
from valhalla.kernel.ids import new_id
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing import streams
from valhalla.sandbox.routing.claims import Claims
from valhalla.sandbox.routing.contracts import Event, Record, Sizes, Terms
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.routing.table import RouteTable, encode
from valhalla.sandbox.slices.nats_admin import NatsAdmin

TURNS = 3
EVENTS = 50_000
CLAIMS = 300
INGRESSES = 4
# microseconds: 100,000 events a second on one core; and of a claim's milliseconds
GOALS = {"publish": 10.0, "routing": 1.0, "claim": 3.0, "claim 99": 10.0}


def run() -> None:
    """Start a throw-away NATS, measure in turns and publish."""
    with nats_alone() as lent:
        found = asyncio.run(_measure(lent.url, lent.cell))
    figures: list[Figure] = [
        figure("ingress: publish, at least once with dedup, CPU", "us/event", found["publish"], GOALS["publish"]),
        figure("ingress: publish, at least once with dedup", "us/event", found["wall"], None),
        figure("nats-py: js.publish, one by one", "us/event", found["nats-py"], None),
        figure("ingress: look-up and subject", "us/event", found["routing"], GOALS["routing"]),
        figure(f"claim followed by {INGRESSES} ingresses, median", "ms", found["claim"], GOALS["claim"]),
        figure(f"claim followed by {INGRESSES} ingresses, 99 %", "ms", found["claim 99"], GOALS["claim 99"]),
    ]
    publish("Live events: one NATS server beside it on the same cores", figures)


async def _measure(url: str, cell: CellKey) -> dict[str, list[float]]:
    creds = natsauth.control_creds(cell)
    link = await Link.open(url, creds, name="bench")
    await streams.ensure(link, Sizes(max_bytes=2**30))
    await link.close()
    found: dict[str, list[float]] = {
        name: [] for name in ("publish", "wall", "nats-py", "routing", "claim", "claim 99")
    }
    for turn in range(TURNS):
        cpu, wall = await _publish(url, creds, turn)
        found["publish"].append(cpu)
        found["wall"].append(wall)
        found["nats-py"].append(await _plain(url, creds, turn))
        found["routing"].append(_routing())
        median, tail = await _claims(url, creds, cell)
        found["claim"].append(median)
        found["claim 99"].append(tail)
    return found


async def _publish(url: str, creds: str, turn: int) -> tuple[float, float]:
    ingress = Ingress(url, creds, name="bench")
    await ingress.start()
    body, started, cpu = b"x" * 256, time.perf_counter(), time.process_time()
    for number in range(EVENTS):
        if number % 100 == 0:
            await ingress.outgoing.room()
        ingress.outgoing.post(Event("tenant", f"k{number % 1000}", "t", body, f"{turn}-{number}"))
    await ingress.flush()
    spent = time.process_time() - cpu, time.perf_counter() - started
    await ingress.stop()
    return spent[0] / EVENTS * 1e6, spent[1] / EVENTS * 1e6


async def _plain(url: str, creds: str, turn: int, count: int = 2000) -> float:
    client = await nats.connect(url, user_credentials=RawCredentials(creds))
    stream = client.jetstream()
    started = time.perf_counter()
    for number in range(count):
        await stream.publish(
            f"ev.p.tenant.k{number % 1000}.t", b"x" * 256, headers={"Nats-Msg-Id": f"p{turn}-{number}"}
        )
    spent = time.perf_counter() - started
    await client.close()
    return spent / count * 1e6


def _routing(count: int = 200_000) -> float:
    table = RouteTable()
    for number in range(5000):
        table.apply(f"rt.tenant.k{number}", encode(Record("tenant", new_id())), number + 1)
    keys = [f"k{number % 10_000}" for number in range(count)]
    started = time.process_time()
    for key in keys:
        way = table.way("tenant", key)
        _ = f"ev.s.{way.sandbox}.{table.address('tenant', key)}.t"
    return (time.process_time() - started) / count * 1e6


async def _claims(url: str, creds: str, cell: CellKey) -> tuple[float, float]:
    admin = NatsAdmin(url, natsauth.operator_key(cell), natsauth.system_creds(cell), timeout=2)
    claims, sandboxes = Claims(url, creds, admin.close_connection), [new_id(), new_id()]
    until, spent = datetime.now(UTC) + timedelta(hours=1), list[float]()

    async def owns() -> bool:
        return True

    async with AsyncExitStack() as others:
        for _ in range(INGRESSES):
            # processes of their own: the event loop of the claimer does not wait for them
            process = subprocess.Popen([sys.executable, "-m", "bench.events", url, creds], stdout=subprocess.PIPE)
            others.callback(process.wait)
            others.callback(process.kill)
            assert process.stdout is not None
            await asyncio.to_thread(process.stdout.readline)
        for number in range(CLAIMS):
            sandbox = sandboxes[number // 64 % 2]
            made = await claims.establish("tenant", f"k{number % 64}", sandbox, until=until, terms=Terms(), owns=owns)
            assert made is not None
            assert made.ingresses >= INGRESSES
            spent.append(made.milliseconds)
    await claims.close()
    await admin.close()
    spent.sort()
    return spent[len(spent) // 2], spent[len(spent) * 99 // 100]


async def _join(url: str, creds: str) -> None:
    ingress = Ingress(url, creds, name="bench")
    await ingress.start()
    print("joined", flush=True)
    await asyncio.sleep(600)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        asyncio.run(_join(sys.argv[1], sys.argv[2]))
    else:
        run()
