"""Background work waits for a burst to end, but not for ever."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from valhalla.kit.load import Load


async def test_few_callers_delay_nothing() -> None:
    load = Load(many=2)
    with load.caller():
        async with asyncio.timeout(20):
            await load.quiet(60)


async def test_a_burst_delays_until_it_ends() -> None:
    load = Load(many=2)
    with ExitStack() as burst:
        for _ in range(3):
            burst.enter_context(load.caller())
        waiting = asyncio.create_task(load.quiet(60))
        await asyncio.sleep(0.01)
        assert not waiting.done()
    async with asyncio.timeout(20):
        await waiting
    assert load.waiting == 0


async def test_patience_ends() -> None:
    load = Load(many=1)
    with load.caller():
        async with asyncio.timeout(5):
            await load.quiet(0.01)
