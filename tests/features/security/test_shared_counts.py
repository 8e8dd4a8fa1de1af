"""Counts of several processes through the real Valkey: added up, bounded, and by oneself while it is away."""

from __future__ import annotations

import asyncio
import itertools

from tests.conftest import Servers

from valhalla.features.security.policies.counting import Counters
from valhalla.features.security.policies.sharing import Sharing
from valhalla.kernel.clock import Clock

_numbers = itertools.count()


async def test_processes_count_together_and_a_late_one_catches_up(servers: Servers) -> None:
    url, cell = servers.endpoints.valkey_url, f"test{next(_numbers)}"
    assert url is not None
    stop = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    def process() -> Counters:
        counters = Counters(Clock())
        sharing = Sharing(counters)
        sharing.through(url, cell)
        tasks.append(asyncio.create_task(sharing.run(stop)))
        return counters

    def failed(counters: Counters) -> int:
        return (counters.of("192.0.2.1") or {}).get("failed_auth", 0)

    async def become(counters: Counters, count: int) -> None:
        async with asyncio.timeout(30):
            while failed(counters) != count:
                await asyncio.sleep(0.02)

    one, two = process(), process()
    for _ in range(3):
        one.note("failed_auth", "192.0.2.1")
    for _ in range(4):
        two.note("failed_auth", "192.0.2.1")
    assert (failed(one), failed(two)) == (3, 4)
    await become(one, 7)
    await become(two, 7)
    await become(process(), 7)
    stop.set()
    await asyncio.gather(*tasks)
    assert failed(one) == 7
    assert one.totals["failed_auth"] == 3


def test_what_is_kept_for_others_is_bounded() -> None:
    counters = Counters(Clock(), most=10)
    counters.collect = True
    for n in range(20):
        counters.note("scans", f"192.0.2.{n}")
        counters.note("scans", f"192.0.2.{n}")
    assert counters.untold == 20
    assert len(counters.take(4)) == 4
    assert counters.waiting.is_set()
    assert counters.take(10) == {f"192.0.2.{n}": {"scans": 2} for n in range(4, 10)}
    assert not counters.waiting.is_set()
    counters.heard("192.0.2.99", "scans", 10**9, 0.0)
    counters.heard("192.0.2.99", "of-a-newer-release", 1, 0.0)
    counters.heard("192.0.2.99", "scans", 1, 4000.0)
    assert (counters.of("192.0.2.99") or {})["scans"] == 256


async def test_without_valkey_each_counts_by_itself() -> None:
    counters, stop = Counters(Clock()), asyncio.Event()
    sharing = Sharing(counters)
    sharing.through("redis://127.0.0.1:1", "x")
    task = asyncio.create_task(sharing.run(stop))
    counters.note("scans", "192.0.2.1")
    async with asyncio.timeout(20):
        while sharing.error is None:
            await asyncio.sleep(0.01)
    assert (counters.of("192.0.2.1") or {})["scans"] == 1
    stop.set()
    await task
