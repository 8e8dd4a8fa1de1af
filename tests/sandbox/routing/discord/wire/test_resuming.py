"""A session goes on over another connection, within bounds."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from tests.sandbox.routing.discord.scene import Scene
from tests.sandbox.routing.discord.wire.by_hand import lanes, message, wire

pytestmark = pytest.mark.slow


async def test_a_session_is_resumed_within_bounds(scene: Scene) -> None:
    """All that was missed, in order, then RESUMED; not if it is more than is kept, or the bot said goodbye."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    async with lanes(scene) as ingress:
        async with wire(scene) as bot:
            await bot.identify(scene, box)
            session = (await bot.hears("READY"))["d"]["session_id"]
            await bot.hears("GUILD_CREATE")
            await ingress.publish(message(home, 0))
            last = (await bot.hears("MESSAGE_CREATE"))["s"]
            await bot.socket.close(code=4000)
        for number in range(1, 31):
            await ingress.publish(message(home, number))
        async with wire(scene) as bot:
            await bot.resume(scene, box, session, last)
            await bot.hears("RESUMED")
            events = [each for each in bot.seen if each["op"] == 0]
            await bot.socket.close(code=4000)
        for number in range(31, 61):
            await ingress.publish(message(home, number))
        async with wire(scene) as bot:
            await bot.resume(scene, box, session, last)
            assert (await bot.hears(9))["d"] is False
        async with wire(scene) as bot:
            await bot.resume(scene, box, session, events[-1]["s"])
            await bot.hears("RESUMED")
            await bot.socket.close(code=1000)
        async with wire(scene) as bot:
            await bot.resume(scene, box, session, events[-1]["s"])
            assert (await bot.hears(9))["d"] is False

    assert [each["t"] for each in events] == ["MESSAGE_CREATE"] * 30 + ["RESUMED"]
    assert [each["d"]["id"] for each in events[:-1]] == [str(number) for number in range(1, 31)]
    assert [each["s"] for each in events] == sorted(each["s"] for each in events)


async def test_at_its_end_the_process_asks_bots_to_resume(scene: Scene) -> None:
    """Op 7, and then the connection is closed with a code from which they do."""
    box = await scene.sandbox(scene.fake.guild("home"))
    async with wire(scene) as bot:
        await bot.identify(scene, box)
        await bot.hears("READY")
        stopping = asyncio.create_task(scene.bots.stop())
        await bot.hears(7)
        code = await bot.closed()
        await stopping
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with wire(scene):
                pass

    assert code == 4000
    assert caught.value.status == 503


async def test_a_session_has_one_connection(scene: Scene) -> None:
    """A bot whose connection hangs resumes on another one; the first is closed, and the session goes on."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    async with lanes(scene) as ingress, wire(scene) as hanging, wire(scene) as bot:
        await hanging.identify(scene, box)
        ready = await hanging.hears("READY")
        await bot.resume(scene, box, ready["d"]["session_id"], ready["s"])
        await bot.hears("RESUMED")
        assert await hanging.closed() == 4000
        await ingress.publish(message(home, 1))
        assert (await bot.hears("MESSAGE_CREATE"))["d"]["id"] == "1"


async def test_the_real_bot_goes_on_where_it_was_unless_that_is_long_ago(scene: Scene) -> None:
    """With the real token; it sees what nobody has claimed, and nothing of what was before it came first."""
    home, other = scene.fake.guild("home"), scene.fake.guild("other")
    await scene.sandbox(home)
    seen: list[list[str]] = []
    number = 0
    async with lanes(scene) as ingress:
        for waiting in (5, 5, 60):
            for _ in range(waiting):
                number += 1
                await ingress.publish(message(other, number))
            async with wire(scene) as bot:
                await bot.say(2, {"token": scene.fake.token, "intents": 1 << 9, "properties": {}})
                guilds = {each["id"] for each in (await bot.hears("READY"))["d"]["guilds"]}
                assert other["id"] in guilds
                assert home["id"] not in guilds
                await ingress.publish(message(home, number + 1000))
                await ingress.publish(message(other, 0 - number))
                while not bot.seen[-1]["d"].get("id", "").startswith("-"):
                    await bot.hears("MESSAGE_CREATE")
                await bot.socket.close(code=4000)
            seen.append([each["d"]["id"] for each in bot.seen if each["t"] == "MESSAGE_CREATE"])

    assert seen[0][-1:] == ["-5"]
    assert seen[1:] == [["6", "7", "8", "9", "10", "-10"], ["-70"]]
