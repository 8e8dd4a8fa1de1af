"""Mappings change while ingresses and the NATS server are killed: every event is stored once, in order, on its side."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from tests.isolation.conftest import NatsProcess

from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Problem
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing import streams
from valhalla.sandbox.routing.claims import Claims
from valhalla.sandbox.routing.contracts import STREAM, Sizes, Terms
from valhalla.sandbox.routing.envelope import EPOCH, read_block
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.slices.nats_admin import NatsAdmin


def _number(name: str, default: int) -> int:
    return int(os.environ.get(f"VALHALLA_CHAOS_{name}", default))


INGRESSES = _number("INGRESSES", 4)
EVENTS = _number("EVENTS", 36_000)
RATE = _number("RATE", 3_000)
KEYS = _number("KEYS", 16)
INGRESS_KILLS = _number("INGRESS_KILLS", 3)
FREEZES = _number("FREEZES", 2)
NATS_KILLS = _number("NATS_KILLS", 1)
# two clocks are compared where an event was stored
_SKEW: Final = 1_000_000
SEED = _number("SEED", 0) or time.time_ns() % 10**9


class Span(NamedTuple):
    """One claim of a key: when it was asked for, when it had returned, whose it is, and its epoch."""

    begun: int
    since: int
    owner: str | None
    epoch: int


class Kept(NamedTuple):
    """One stored event: its lane and key, when it was stored, by which claim, and what the worker wrote."""

    lane: str | None
    key: str
    stored: int
    epoch: int
    body: dict[str, Any]


@dataclass
class Flips:
    """What was claimed, by key; instants are of the monotonic clock, in nanoseconds."""

    spans: dict[str, list[Span]] = field(default_factory=lambda: defaultdict(list))
    owners: dict[str, str | None] = field(default_factory=dict)
    done: int = 0
    failed: int = 0
    slowest: float = 0.0


class Shards:
    """The worker processes, started again whenever one is killed."""

    def __init__(self, folder: Path, url: str, creds: Path) -> None:
        self.folder = folder
        self.url = url
        self.creds = creds
        self.processes = [self._start(shard) for shard in range(INGRESSES)]

    def _start(self, shard: int) -> subprocess.Popen[bytes]:
        spec = {
            "url": self.url,
            "creds": str(self.creds),
            "shard": shard,
            "count": EVENTS // INGRESSES,
            "keys": KEYS,
            "rate": RATE // INGRESSES,
            "mark": str(self.folder / f"mark-{shard}"),
        }
        worker = Path(__file__).with_name("ingress_worker.py")
        output = (self.folder / f"worker-{shard}.log").open("ab")
        return subprocess.Popen([sys.executable, str(worker), json.dumps(spec)], stdout=output, stderr=output)

    @property
    def running(self) -> list[int]:
        return [shard for shard, process in enumerate(self.processes) if process.poll() is None]

    def kill(self, shard: int) -> None:
        self.processes[shard].kill()
        self.processes[shard].wait()
        self.processes[shard] = self._start(shard)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


async def flip(claims: Claims, flips: Flips, sandboxes: list[str], dice: random.Random, until: asyncio.Event) -> None:
    """Claim and release keys at random; what fails is repeated until it holds, as the keeper would."""
    while not until.is_set():
        key = f"s{dice.randrange(INGRESSES)}-{dice.randrange(KEYS)}"
        former, wanted = flips.owners.get(key), dice.choice([*sandboxes, None])
        if former == wanted:
            continue
        begun = time.monotonic_ns()
        claimed = None
        flips.owners[key] = wanted

        async def owns(key: str = key, wanted: str | None = wanted) -> bool:
            return flips.owners[key] == wanted

        async def gone() -> bool:
            return False

        while True:
            try:
                if wanted is None:
                    assert former is not None
                    claimed = await claims.release("tenant", key, former, unread="drain", owns=gone)
                else:
                    until_ = datetime.now(UTC) + timedelta(hours=1)
                    claimed = await claims.establish("tenant", key, wanted, until=until_, terms=Terms(), owns=owns)
                break
            except (Problem, ApiError):
                flips.failed += 1
                await asyncio.sleep(0.1)
        flips.slowest = max(flips.slowest, (time.monotonic_ns() - begun) / 1e9)
        assert claimed is not None
        flips.spans[key].append(Span(begun, time.monotonic_ns(), wanted, claimed.epoch))
        flips.done += 1
        await asyncio.sleep(dice.uniform(0, 0.02))


async def read_all(link: Link) -> list[Kept]:
    """Return everything that the stream holds, in order."""
    found: list[Kept] = []
    whole = asyncio.Event()
    offset = time.time_ns() - time.monotonic_ns()

    def heard(subject: str, reply: str | None, block: bytes | None, body: bytes) -> None:
        if reply is None or not reply.startswith("$JS.ACK."):
            # the server asks whether this keeps up
            if reply is not None:
                link.publish(reply)
            return
        told = reply.split(".")
        tokens, headers = subject.split("."), read_block(block or b"")
        lane = tokens[2] if tokens[1] == "s" else None
        found.append(Kept(lane, tokens[-2], int(told[7]) - offset, int(headers.get(EPOCH, 0)), json.loads(body)))
        if told[8] == "0":
            whole.set()

    link.subscribe("test.all", heard)
    config = {
        "deliver_subject": "test.all",
        "deliver_policy": "all",
        "ack_policy": "none",
        "name": "all",
        "flow_control": True,
        "idle_heartbeat": 1_000_000_000,
    }
    await link.api(f"CONSUMER.CREATE.{STREAM}.all", {"stream_name": STREAM, "config": config, "action": "create"})
    async with asyncio.timeout(120 + EVENTS / 3000):
        await whole.wait()
    return found


@pytest.mark.slow
@pytest.mark.timeout(600 + EVENTS // RATE * 6)
async def test_nothing_is_lost_doubled_disordered_or_on_the_wrong_side(tmp_path: Path) -> None:
    """Sent is stored, whatever is killed or frozen meanwhile."""
    dice = random.Random(SEED)
    server = NatsProcess(tmp_path / "nats", CellKey.parse("c" * 43), {})
    (tmp_path / "nats").mkdir(exist_ok=True)
    server.start()
    creds = natsauth.control_creds(server.cell)
    file = tmp_path / "control.creds"
    file.write_text(creds)
    admin = NatsAdmin(server.url, natsauth.operator_key(server.cell), natsauth.system_creds(server.cell), timeout=2)
    link = await Link.open(server.url, creds, name="chaos")
    await streams.ensure(link, Sizes(max_bytes=2**30))
    await link.close()
    claims, flips = Claims(server.url, creds, admin.close_connection), Flips()
    shards = Shards(tmp_path, server.url, file)
    over = asyncio.Event()
    sandboxes = [new_id() for _ in range(3)]
    flipping = asyncio.create_task(flip(claims, flips, sandboxes, dice, over))
    try:
        troubles = ["ingress"] * INGRESS_KILLS + ["freeze"] * FREEZES + ["nats"] * NATS_KILLS
        dice.shuffle(troubles)
        # spread over the run, however long it is
        pause = max(1.0, EVENTS / RATE / (len(troubles) + 1))
        started = time.monotonic()
        while shards.running:
            assert time.monotonic() < started + 60 + 4 * EVENTS / RATE, f"not over in time, seed {SEED}"
            await asyncio.sleep(pause * dice.uniform(0.3, 1.0))
            if not troubles or len(shards.running) < INGRESSES:
                continue
            trouble, shard = troubles.pop(), dice.randrange(INGRESSES)
            if trouble == "ingress":
                shards.kill(shard)
            elif trouble == "freeze":
                process = shards.processes[shard]
                process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(dice.uniform(0.3, 2.5))
                process.send_signal(signal.SIGCONT)
            else:
                await asyncio.to_thread(server.stop)
                await asyncio.sleep(0.2)
                await asyncio.to_thread(server.start)
        took = time.monotonic() - started
        over.set()
        await asyncio.wait_for(flipping, 30)
        assert [process.returncode for process in shards.processes] == [0] * INGRESSES, SEED
        link = await Link.open(server.url, creds, name="reading")
        stored = await read_all(link)
        await link.close()
    finally:
        over.set()
        flipping.cancel()
        with contextlib.suppress(BaseException):
            await flipping
        shards.stop()
        await claims.close()
        await admin.close()
        server.stop()

    judge(stored, flips)
    assert not troubles, f"the run was over before everything was killed, seed {SEED}"
    print(
        f"\n{len(stored)} events in {took:.0f} s ({len(stored) / took:,.0f}/s), {len(flips.spans)} keys,"
        f" {flips.done} flips, {flips.failed} repeated, slowest {flips.slowest:.2f} s, seed {SEED}"
    )


def judge(stored: list[Kept], flips: Flips) -> None:
    """Compare what is stored with what was sent and claimed."""
    numbers: dict[str, list[int]] = defaultdict(list)
    wrong: list[str] = []
    checked = 0
    for one in stored:
        numbers[one.key].append(one.body["n"])
        spans = flips.spans.get(one.key, [])
        before = [span for span in spans if span.since < one.body["at"]]
        if not before:
            continue
        checked += 1
        # the claim that held when the event was made, and those that were asked for before it was stored
        holding = [before[-1], *(span for span in spans[len(before) :] if span.begun < one.stored + _SKEW)]
        lawful = one.lane in {span.owner for span in holding}
        if not lawful or (one.lane is not None and one.epoch < before[-1].epoch):
            late = (one.body["at"] - before[-1].since) // 1000
            wrong.append(f"{one.key} {one.body} in {one.lane}, {late} us after {before[-1].owner} had claimed it")
    per_shard = EVENTS // INGRESSES
    expected = {
        f"s{shard}-{key}": list(range(key, per_shard, KEYS)) for shard in range(INGRESSES) for key in range(KEYS)
    }
    assert {key: sorted(found) for key, found in numbers.items()} == expected, f"lost or doubled, seed {SEED}"
    assert dict(numbers) == expected, f"out of order, seed {SEED}"
    assert not wrong, f"{wrong[:5]}: {len(wrong)} of {checked} on the wrong side, seed {SEED}"
    assert checked > EVENTS // 10
