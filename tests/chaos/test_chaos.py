"""Random use by several clients while processes are killed and servers restarted; at the end everything agrees.

``CHAOS_SEED`` repeats a run's decisions (not its timing), ``CHAOS_SECONDS`` sets the length of the long one.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import threading
import time
from pathlib import Path

import pytest
from tests.chaos.agreement import await_rest, check
from tests.chaos.client import Client
from tests.chaos.world import World

CLIENTS = 4
SHORT = 3.0
LONG = float(os.environ.get("CHAOS_SECONDS", "600"))


def rampage(seconds: float) -> None:
    """Let clients and faults loose for that long, then settle and compare."""
    seed = os.environ.get("CHAOS_SEED") or str(random.SystemRandom().randrange(10**6))
    world = World(Path(tempfile.mkdtemp(prefix="vh-chaos-")))
    try:
        world.open()
        stop = threading.Event()
        clients = [Client(world, f"{seed}:{number}", stop) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        _harm(world, random.Random(seed), stop, seconds)
        for client in clients:
            client.join(120)
            assert not client.is_alive(), "a client does not come back"
        for client in clients:
            if client.failure is not None:
                raise client.failure
        for client in clients:
            client.settle()
        # longer than the shortest lives, and several rounds of the reaper
        time.sleep(3.5)
        await_rest(world)
        for client in clients:
            for held in client.all:
                if held.state == "live":
                    client.check(held)
                    client.use(held)
        for plane in world.planes:
            plane.kill(number=15)
        asyncio.run(check(world, clients))
        print(f"\nseed {seed}: {world.faults}", *(client.done for client in clients))
    except BaseException:
        print(f"\nCHAOS_SEED={seed} repeats the decisions", *world.log, sep="\n")
        for plane in world.planes:
            print(f"--- {plane.data_dir.name}", *plane.output, sep="\n")
        raise
    finally:
        world.close()


def _harm(world: World, dice: random.Random, stop: threading.Event, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stop.wait(dice.uniform(0.3, 2)):
        world.harm(dice)
    stop.set()


@pytest.mark.timeout(300)
def test_a_short_rampage() -> None:
    """A few faults, in every run of the tests."""
    rampage(SHORT)


@pytest.mark.slow
@pytest.mark.timeout(LONG + 600)
def test_a_long_rampage() -> None:
    """Every kind of fault, many times over."""
    rampage(LONG)
