"""Keys change hands while routers and NATS are killed: every event is on a lane once, in order, on its side."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from tests.isolation.conftest import NatsProcess
from tests.sandbox.routing import test_chaos as chaos

from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Unavailable
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing import streams
from valhalla.sandbox.routing.claims import Claims
from valhalla.sandbox.routing.contracts import Sizes
from valhalla.sandbox.routing.foreign import accounts
from valhalla.sandbox.routing.foreign.contracts import EventSource
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.slices.nats_accounts import StandingAccounts
from valhalla.sandbox.slices.nats_admin import NatsAdmin

ROUTERS = 3
EVENTS = chaos._number("HOP_EVENTS", 24_000)
RATE = chaos._number("HOP_RATE", 2_000)
SOURCE = EventSource("orders", "orders.{key}.{type}", "tenant", way="router")


class Routers:
    """Processes of routers, started again when one is killed."""

    def __init__(self, folder: Path, spec: dict[str, object]) -> None:
        self._folder = folder
        self._spec = json.dumps(spec).encode()
        self.processes = [self._start(number) for number in range(ROUTERS)]

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        worker = Path(__file__).with_name("hop_worker.py")
        output = (self._folder / f"router-{number}.log").open("ab")
        process = subprocess.Popen([sys.executable, str(worker)], stdin=subprocess.PIPE, stdout=output, stderr=output)
        assert process.stdin is not None
        process.stdin.write(self._spec)
        process.stdin.close()
        return process

    def kill(self, number: int) -> None:
        self.processes[number].kill()
        self.processes[number].wait()
        self.processes[number] = self._start(number)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


async def publish(url: str, creds: str, shard: int) -> None:
    """Be a program with a JetStream client of its own: each event until it is acknowledged, in order per key."""
    count, rate = EVENTS // chaos.INGRESSES, RATE // chaos.INGRESSES
    link: Link | None = None
    started = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
        body = json.dumps({"n": number, "at": time.monotonic_ns(), "pid": 0}).encode()
        while True:
            try:
                if link is None or not link.is_open:
                    link = await Link.open(url, creds, name="publisher")
                headers = {"Nats-Msg-Id": f"{shard}-{number}"}
                await link.store(f"orders.s{shard}-{number % chaos.KEYS}.t", body, headers=headers, timeout=2)
                break
            except (Unavailable, ApiError):
                if link is not None:
                    link.abort()
                await asyncio.sleep(0.1)
    assert link is not None
    await link.close()


async def trouble(
    routers: Routers, server: NatsProcess, dice: random.Random, over: Sequence[asyncio.Task[None]]
) -> int:
    """Kill and freeze until everything is published; return how often."""
    done, kinds = 0, ["kill", "freeze", "kill", "nats", "kill"]
    while not all(task.done() for task in over) or done < len(kinds):
        await asyncio.sleep(dice.uniform(1.0, 2.5))
        kind, number = kinds[done % len(kinds)], dice.randrange(ROUTERS)
        if kind == "nats" and done >= len(kinds):
            kind = "kill"
        if kind == "kill":
            routers.kill(number)
        elif kind == "freeze":
            routers.processes[number].send_signal(signal.SIGSTOP)
            await asyncio.sleep(dice.uniform(0.3, 3.0))
            routers.processes[number].send_signal(signal.SIGCONT)
        else:
            await asyncio.to_thread(server.stop)
            await asyncio.sleep(0.2)
            await asyncio.to_thread(server.start)
        done += 1
    return done


async def stored(server: NatsProcess, creds: str, within: float) -> None:
    """Wait until as many events are on lanes as were published."""
    async with asyncio.timeout(within):
        while True:
            with contextlib.suppress(Unavailable, ApiError):
                link = await Link.open(server.url, creds, name="counting")
                state = (await link.api("STREAM.INFO.VH_EV"))["state"]
                await link.close()
                if int(state["messages"]) >= EVENTS:
                    # what would be doubled comes now
                    await asyncio.sleep(2)
                    return
            await asyncio.sleep(0.3)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_routers_lose_double_and_disorder_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published is stored, whoever is killed or frozen meanwhile."""
    dice = random.Random(chaos.SEED)
    monkeypatch.setattr(chaos, "EVENTS", EVENTS)
    (tmp_path / "nats").mkdir()
    server = NatsProcess(tmp_path / "nats", CellKey.parse("h" * 43), {})
    server.start()
    operator, control = natsauth.operator_key(server.cell), natsauth.control_creds(server.cell)
    admin = NatsAdmin(server.url, operator, natsauth.system_creds(server.cell), timeout=2)
    claims_of, _ = accounts.amended(accounts.fresh(server.cell, "apps"), server.cell, ["tenant"], {})
    await StandingAccounts(admin, operator).put(claims_of)
    creds = accounts.credentials(server.cell, SOURCE, "account")
    link = await Link.open(server.url, control, name="chaos")
    await streams.ensure(link, Sizes(max_bytes=2**30))
    await link.close()
    spec = {"source": msgspec.to_builtins(SOURCE), "url": server.url, "creds": creds, "control": control}
    routers = Routers(tmp_path, spec)
    claims, flips, over = Claims(server.url, control, admin.close_connection), chaos.Flips(), asyncio.Event()
    # programs publish from the first router's start on: it makes the stream
    watching = await Link.open(server.url, creds, name="watching")
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(ApiError):
                await watching.api("STREAM.INFO.VH_HOP_orders")
                break
            await asyncio.sleep(0.1)
    await watching.close()
    flipping = asyncio.create_task(chaos.flip(claims, flips, [new_id() for _ in range(3)], dice, over))  # noqa: RUF006 - it is awaited below
    started = time.monotonic()
    try:
        publishing = [asyncio.create_task(publish(server.url, creds, shard)) for shard in range(chaos.INGRESSES)]
        troubles = await trouble(routers, server, dice, publishing)
        await asyncio.gather(*publishing)
        over.set()
        await asyncio.wait_for(flipping, 30)
        await stored(server, control, 120)
        took = time.monotonic() - started
        link = await Link.open(server.url, control, name="reading")
        found = await chaos.read_all(link)
        await link.close()
    finally:
        over.set()
        flipping.cancel()
        with contextlib.suppress(BaseException):
            await flipping
        routers.stop()
        await claims.close()
        await admin.close()
        server.stop()
    chaos.judge(found, flips)
    print(
        f"\n{len(found)} events in {took:.0f} s, {troubles} troubles, {flips.done} flips, {flips.failed} repeated,"
        f" slowest {flips.slowest:.2f} s, seed {chaos.SEED}"
    )
