"""The deliverer is killed a hundred times: nothing is lost, and what comes twice is the same."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from pathlib import Path

import pytest
from tests.conftest import Servers
from tests.features.notifications.conftest import Scene
from tests.features.notifications.receiver import Receiver

_CHILD = Path(__file__).parent / "deliverer_child.py"
_KILLS = 100
_EACH = 12
_CHANNELS = 4


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_hundred_kills_lose_nothing(scene: Scene, servers: Servers, receiver: Receiver, migrated: str) -> None:
    await scene.end()
    for n in range(_CHANNELS):
        await scene.hook(f"c{n}", receiver)
    sent: dict[str, list[str]] = {f"c{n}": [] for n in range(_CHANNELS)}
    drawn = random.Random(7)
    for turn in range(_KILLS + 1):
        for n in range(_EACH):
            channel = f"c{n % _CHANNELS}"
            sent[channel].append(await scene.send(channel, f"{channel} {turn} {n}"))
        before = len(receiver.got)
        process = await asyncio.create_subprocess_exec(
            sys.executable, _CHILD, migrated, servers.data_dir / "cell.key", servers.data_dir
        )
        if turn == _KILLS:
            for ids in sent.values():
                await scene.until(ids[-1], "delivered", seconds=60)
        else:
            # somewhere between the first and the last of what waits, or a moment after it
            await receiver.wait(before + drawn.randint(1, _EACH), 30)
            await asyncio.sleep(drawn.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        await process.wait()

    bodies: dict[str, set[bytes]] = {}
    for got in receiver.got:
        bodies.setdefault(got.id, set()).add(got.body)
    assert set(bodies) == {each for ids in sent.values() for each in ids}
    assert all(len(each) == 1 for each in bodies.values())
    titles = list(dict.fromkeys(got.payload["data"]["title"] for got in receiver.got))
    for channel, ids in sent.items():
        first = list(dict.fromkeys(got.id for got in receiver.got if got.id in set(ids)))
        assert first == ids, channel
    # the kills met what was under way, or this showed nothing
    assert len(receiver.got) > len(titles)
