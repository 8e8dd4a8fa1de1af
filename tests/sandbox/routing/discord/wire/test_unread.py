"""What a bot has not read yet waits in the stream: nothing of it is lost, or sent twice."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from tests.sandbox.routing.discord.scene import Scene, until
from tests.sandbox.routing.discord.wire.by_hand import lanes, message, wire
from tests.sandbox.routing.discord.wire.conftest import BRISK

from valhalla.sandbox.routing.contracts import STREAM
from valhalla.sandbox.routing.lanes import next_message

pytestmark = pytest.mark.slow


async def _gone(scene: Scene) -> bool:
    while scene.bots._connections:
        await asyncio.sleep(0.05)
    return True


async def test_who_does_not_read_is_not_read_for(scene: Scene) -> None:
    """A bounded part of the lane is on its way to it; the rest waits in the stream, and nothing is lost."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    total = 600
    scene.bots.shared.pace = replace(BRISK, heartbeat=6.0)
    async with lanes(scene) as ingress, wire(scene) as slow:
        await slow.identify(scene, box)
        ready = await slow.hears("READY")
        for number in range(total):
            await ingress.post(message(home, number, 50_000))
        await ingress.flush()
        feeds = [each._feed for each in scene.bots._connections if each._feed is not None]
        counts = scene.bots.shared.counts
        sent = -1
        while sent != counts["events"]:
            sent = counts["events"]
            await asyncio.sleep(0.4)
        assert sent < total / 2
        assert len(feeds) == 1
        # it is closed as one that is silent, and its session goes on where it was
        assert await asyncio.wait_for(_gone(scene), 30)
    async with wire(scene) as bot:
        await bot.identify(scene, box)
        again = await bot.hears("READY")
        found = [int((await bot.hears("MESSAGE_CREATE"))["d"]["id"]) for _ in range(20)]

    assert found == list(range(found[0], found[0] + 20))
    assert 0 < found[0] <= sent
    assert ready["d"]["session_id"] != again["d"]["session_id"]


async def test_what_a_bot_was_not_sent_goes_back_to_production(scene: Scene) -> None:
    """At a release that says so; what it was sent does not."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    async with lanes(scene) as ingress:
        async with wire(scene) as bot:
            await bot.identify(scene, box)
            await bot.hears("READY")
            for number in range(3):
                await ingress.publish(message(home, number))
                await bot.hears("MESSAGE_CREATE")
            await bot.socket.close(code=4000)
        await until(lambda: not scene.bots._connections)
        await scene.bots.shared.positions.flush()
        for number in range(3, 6):
            await ingress.publish(message(home, number))
        lane = (await scene.runtime.sandboxes.health(scene.team.principal, box.id)).lane
        assert lane is not None
        assert (lane.events, lane.waiting) == (6, 3)
        unlink = scene.runtime.sandboxes.unlink
        await unlink(scene.team.principal, box.id, "discord.guild", home["id"], unread="return")
        link = await scene.bots.shared.line.link()
        found: list[str] = []
        sequence = 1
        while (kept := await next_message(link, STREAM, sequence, f"ev.p.discord.{home['id']}.>")) is not None:
            sequence = kept[1] + 1
            found.append(json.loads(kept[3])["id"])

    assert found == ["3", "4", "5"]


async def test_a_lost_nats_is_read_on_from(scene: Scene) -> None:
    """While events come and the connection is broken again and again: each is sent once, in order."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    async with lanes(scene) as ingress, wire(scene, "v=10&encoding=json&compress=zlib-stream") as bot:
        await bot.identify(scene, box)
        await bot.hears("READY")

        async def write() -> None:
            for number in range(200):
                await ingress.publish(message(home, number))
                if number % 40 == 20:
                    (await scene.bots.shared.line.link()).abort()

        writing = asyncio.create_task(write())
        found = [(await bot.hears("MESSAGE_CREATE"))["d"]["id"] for _ in range(200)]
        await writing

    assert found == [str(number) for number in range(200)]
