"""What the gateway of bots answers to whoever speaks its protocol, badly or too often."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.sandbox.routing.discord.scene import Scene, until
from tests.sandbox.routing.discord.wire.by_hand import wire
from tests.sandbox.routing.discord.wire.conftest import BRISK

pytestmark = pytest.mark.slow


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
