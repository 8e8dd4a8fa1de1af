"""A channel's rate is one, however many processes send: of those that ask at once, and of one that takes over."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest
from tests.conftest import Servers
from tests.features.notifications.conftest import Scene
from tests.features.notifications.receiver import Receiver

from valhalla.features.data.notifications import pacing

_HERE = Path(__file__).parent


async def test_what_one_took_the_other_has_not(scene: Scene) -> None:
    one, other = (pacing.Pace(scene.db, "fast", (3, 60.0)) for _ in range(2))
    assert [await one.take(), await other.take(), await one.take(), await other.take()] == [True, True, True, False]
    assert (one.room(), other.room()) == (1, 0)
    assert not await one.take()
    # of each channel by itself, and a rate that is raised has what was sent counted
    assert await pacing.Pace(scene.db, "else", (3, 60.0)).take()
    raised = pacing.Pace(scene.db, "fast", (4, 60.0))
    assert [await raised.take(), await raised.take()] == [True, False]


@pytest.mark.slow
async def test_two_processes_have_one_rate(scene: Scene, migrated: str) -> None:
    children = [await _child("pace_child.py", migrated, "shared", 300, 600.0) for _ in range(2)]
    for child in children:
        assert child.stdout is not None
        assert await child.stdout.readline() == b"ready\n"
    told = await asyncio.gather(*(child.communicate(b"go\n") for child in children))
    assert sum(int(out) for out, _ in told) == 300


@pytest.mark.slow
async def test_who_takes_over_goes_on_counting(
    scene: Scene, servers: Servers, receiver: Receiver, migrated: str
) -> None:
    await scene.end()
    await scene.hook("taken-over", receiver, rate="4/10 minutes")
    await scene.hook("free", receiver)
    for number in range(8):
        await scene.send("taken-over", f"slow {number}")
    for turn in range(2):
        marker = await scene.send("free", f"free {turn}")
        child = await _child("deliverer_child.py", migrated, servers.data_dir / "cell.key", servers.data_dir)
        try:
            if turn == 0:
                await receiver.wait(5, 60)
            await scene.until(marker, "delivered", seconds=60)
            # one who begins to count anew sends at once
            await asyncio.sleep(1.5)
        finally:
            child.send_signal(signal.SIGKILL)
            await child.communicate()
    titles = [got.payload["data"]["title"] for got in receiver.got]
    assert sorted(set(titles)) == ["free 0", "free 1", "slow 0", "slow 1", "slow 2", "slow 3"]
    assert sum(title.startswith("slow") for title in titles) == 4


async def _child(name: str, *arguments: object) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, _HERE / name, *map(str, arguments), stdin=PIPE, stdout=PIPE
    )
