"""What the gateway of bots answers to whoever speaks its protocol, badly or too slowly."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from tests.sandbox.plane import Team
from tests.sandbox.routing.conftest import event
from tests.sandbox.routing.discord.scene import Scene, locked
from tests.sandbox.routing.discord.test_bots import fake, until

from valhalla.kit import natsauth
from valhalla.runtime import Runtime
from valhalla.sandbox.contracts import Sandbox
from valhalla.sandbox.routing.contracts import STREAM
from valhalla.sandbox.routing.discord.bots.pace import Pace
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.sandbox.routing.lanes import next_message
from valhalla.testing.discord import FakeDiscord

pytestmark = pytest.mark.slow
__all__ = ["fake"]

BRISK = Pace(identify_every=0.0, identifies=4, looking=0.02, running=0.1, batch=16, each=3, kept=50)


@pytest.fixture
async def scene(runtime: Runtime, team: Team, fake: FakeDiscord) -> AsyncIterator[Scene]:
    async with locked(runtime, team, fake, pace=BRISK, production=True) as made:
        yield made


class Wire:
    """A bot's connection, by hand."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.seen: list[dict[str, Any]] = []
        self._inflate = zlib.decompressobj()

    async def hear(self) -> dict[str, Any] | int:
        """Return the next frame, or the code that it was closed with."""
        message = await self.socket.receive(timeout=10)
        if message.type is aiohttp.WSMsgType.TEXT:
            self.seen.append(json.loads(message.data))
        elif message.type is aiohttp.WSMsgType.BINARY:
            assert message.data.endswith(b"\x00\x00\xff\xff")
            self.seen.append(json.loads(self._inflate.decompress(message.data)))
        else:
            return self.socket.close_code or 1006
        return self.seen[-1]

    async def hears(self, name: str | int) -> dict[str, Any]:
        """Return the next frame of an event or an operation."""
        while True:
            found = await self.hear()
            assert isinstance(found, dict), found
            if name in (found["t"], found["op"]):
                return found

    async def closed(self) -> int:
        """Return the code that it is closed with."""
        while isinstance(found := await self.hear(), dict):
            pass
        return found

    async def say(self, op: int, data: Any = None) -> None:
        await self.socket.send_str(json.dumps({"op": op, "d": data}))

    async def identify(self, scene: Scene, box: Sandbox, **more: Any) -> None:
        await self.say(2, {"token": scene.token(box), "intents": 1 << 9 | 1, "properties": {}} | more)

    async def resume(self, scene: Scene, box: Sandbox, session: str, number: int) -> None:
        await self.say(6, {"token": scene.token(box), "session_id": session, "seq": number})


@asynccontextmanager
async def wire(scene: Scene, query: str = "v=10&encoding=json") -> AsyncGenerator[Wire]:
    async with scene.http.ws_connect(f"http://127.0.0.1:{scene.port}/?{query}", max_msg_size=0) as socket:
        yield Wire(socket)


@asynccontextmanager
async def lanes(scene: Scene) -> AsyncGenerator[Ingress]:
    """Whoever publishes events of Discord's."""
    url = scene.runtime.settings.nats_url
    assert url is not None
    ingress = Ingress(url, natsauth.control_creds(scene.runtime.cell), name="tests")
    await ingress.start()
    yield ingress
    await ingress.stop()


def message(guild: dict[str, Any], number: int, size: int = 0) -> Any:
    body = {"id": str(number), "guild_id": guild["id"], "author": {"id": "7"}, "content": "", "pad": "x" * size}
    return event(guild["id"], number, source="discord", type="MESSAGE_CREATE", data=json.dumps(body).encode())


async def test_what_breaks_the_protocol_gets_discords_codes(scene: Scene) -> None:
    """Each on a connection of its own."""
    box = await scene.sandbox(scene.fake.guild("home"))
    token = scene.token(box)
    fine = {"token": token, "intents": 1}
    frames: dict[str, tuple[Any, int]] = {
        "no json": ("{", 4002),
        "bytes": (b"\x00\xff", 4002),
        "oversize": (json.dumps({"op": 1, "d": "x" * 5000}), 4002),
        "huge": ("x" * 1_000_000, 4002),
        "an operation before it identified": ({"op": 3, "d": {}}, 4003),
        "an unknown one": ({"op": 77}, 4003),
        "a wrong token": ({"op": 2, "d": {**fine, "token": token[:-1] + ("a" if token[-1] != "a" else "b")}}, 4004),
        "the real token's form": ({"op": 2, "d": {**fine, "token": "MTIz.Gx.abc"}}, 4004),
        "a wrong token that resumes": ({"op": 6, "d": {"token": "x", "session_id": "y", "seq": 1}}, 4004),
        "no such shard": ({"op": 2, "d": {**fine, "shard": [2, 2]}}, 4010),
        "no such intent": ({"op": 2, "d": {**fine, "intents": 1 << 40}}, 4013),
        "negative intents": ({"op": 2, "d": {**fine, "intents": -1}}, 4013),
    }
    found: dict[str, int] = {}
    for name, (frame, _) in frames.items():
        async with wire(scene) as bot:
            await bot.hears(10)
            if isinstance(frame, bytes):
                await bot.socket.send_bytes(frame)
            else:
                await bot.socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))
            found[name] = await bot.closed()
    async with wire(scene, "v=6") as bot:
        found["an old version"] = await bot.closed()
    async with wire(scene, "v=10&encoding=etf") as bot:
        found["another encoding"] = await bot.closed()

    assert found == {name: code for name, (_, code) in frames.items()} | {
        "an old version": 4012,
        "another encoding": 4002,
    }
    await until(lambda: not scene.bots._connections)


async def test_a_session_keeps_to_the_protocol_too(scene: Scene) -> None:
    """Who identifies twice, says what does not exist, too much, or nothing at all; and whose intents are not given."""
    box = await scene.sandbox(scene.fake.guild("home"))
    scene.bots.shared.application["flags"] = 0
    found: list[int] = []
    for op in (2, 77):
        async with wire(scene, "v=10&encoding=json&compress=zlib-stream") as bot:
            await bot.identify(scene, box)
            await bot.hears("READY")
            await (bot.identify(scene, box) if op == 2 else bot.say(op))
            found.append(await bot.closed())
    async with wire(scene) as bot:
        await bot.identify(scene, box, intents=1 << 15)
        found.append(await bot.closed())
    async with wire(scene) as bot:
        for _ in range(121):
            await bot.say(1)
        found.append(await bot.closed())
    scene.bots.shared.pace = replace(BRISK, heartbeat=0.5)
    async with wire(scene) as bot:
        found.append(await bot.closed())

    assert found == [4005, 4001, 4014, 4008, 4009]


async def test_identifying_has_its_limits(scene: Scene) -> None:
    """In a day, told by /gateway/bot; what is too much is an invalid session. So is what cannot be resumed."""
    box, other = await scene.sandbox(scene.fake.guild("home")), await scene.sandbox()
    told: list[int] = []
    sessions: list[str] = []
    for number in range(5):
        status, said = await scene.ask(box, "GET", "/gateway/bot")
        told.append(said["session_start_limit"]["remaining"])
        async with wire(scene) as bot:
            await bot.identify(scene, box)
            if number < 4:
                sessions.append((await bot.hears("READY"))["d"]["session_id"])
                # one that says goodbye has no session any more
                await bot.socket.close(code=4000)
            else:
                assert (await bot.hears(9))["d"] is False
    async with wire(scene) as bot:
        await bot.resume(scene, box, "invented", 1)
        assert (await bot.hears(9))["d"] is False
        await bot.resume(scene, box, sessions[0], 10**9)
        assert await bot.closed() == 4007
    async with wire(scene) as bot:
        await bot.resume(scene, other, sessions[1], 1)
        assert (await bot.hears(9))["d"] is False

    assert (status, told) == (200, [4, 3, 2, 1, 0])
    assert said["url"] == f"ws://127.0.0.1:{scene.port}"
    assert said["shards"] == 1


async def test_a_sandbox_has_so_many_connections_and_no_more(scene: Scene) -> None:
    box = await scene.sandbox(scene.fake.guild("home"))
    async with wire(scene) as one, wire(scene) as two, wire(scene) as three, wire(scene) as four:
        for bot in (one, two, three):
            await bot.identify(scene, box)
            await bot.hears("READY")
        await four.identify(scene, box)
        assert await four.closed() == 4000


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


async def _gone(scene: Scene) -> bool:
    while scene.bots._connections:
        await asyncio.sleep(0.05)
    return True


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


async def test_members_are_asked_for(scene: Scene) -> None:
    """By name list, by id, all; of a guild that is another's nothing."""
    home, other = scene.fake.guild("home"), scene.fake.guild("other")
    box = await scene.sandbox(home)
    person = home["members"][-1]["user"]["id"]
    async with wire(scene) as bot:
        await bot.identify(scene, box)
        await bot.hears("READY")
        await bot.say(8, {"guild_id": int(other["id"]), "query": "", "limit": 0})
        await bot.say(8, {"guild_id": int(home["id"]), "query": "", "limit": 0, "nonce": "n"})
        everybody = (await bot.hears("GUILD_MEMBERS_CHUNK"))["d"]
        await bot.say(8, {"guild_id": home["id"], "user_ids": [person, "5"]})
        one = (await bot.hears("GUILD_MEMBERS_CHUNK"))["d"]

    assert (everybody["guild_id"], everybody["nonce"]) == (home["id"], "n")
    assert len(everybody["members"]) == len(home["members"])
    assert (everybody["chunk_index"], everybody["chunk_count"]) == (0, 1)
    assert [each["user"]["id"] for each in one["members"]] == [person]
    assert one["not_found"] == ["5"]


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
