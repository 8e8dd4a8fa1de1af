"""The fake Discord as a client meets it: REST, the gateway's refusals, and what whoever tests can look at."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from valhalla.testing.discord import FakeDiscord

pytestmark = pytest.mark.slow


@pytest.fixture
async def discord() -> AsyncGenerator[FakeDiscord]:
    async with FakeDiscord() as made:
        yield made


@pytest.fixture
async def rest(discord: FakeDiscord) -> AsyncGenerator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bot {discord.token}"}
    async with httpx.AsyncClient(base_url=discord.api_url, headers=headers) as client:
        yield client


async def frame(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(10):
        return json.loads(await socket.recv())


async def identified(discord: FakeDiscord, **more: Any) -> ClientConnection:
    """Return a connection that has said who it is."""
    socket = await connect(f"{discord.gateway_url}/?v=10&encoding=json")
    assert (await frame(socket))["op"] == 10
    said = {"token": discord.token, "intents": 513, "properties": {}} | more
    await socket.send(json.dumps({"op": 2, "d": said}))
    return socket


async def test_guilds_of_one_millisecond_are_two_on_the_shard_that_was_asked_for(discord: FakeDiscord) -> None:
    """Ids shard as Discord's do."""
    discord.gateway.shards = 3
    ids = [int(discord.guild(shard=number % 3)["id"]) for number in range(30)]

    assert len(set(ids)) == 30
    assert [(each >> 22) % 3 for each in ids] == [number % 3 for number in range(30)]


async def test_a_wrong_token_opens_nothing(discord: FakeDiscord) -> None:
    """401, and the call is recorded with what was sent."""
    async with httpx.AsyncClient(base_url=discord.api_url, headers={"Authorization": "Bot other"}) as client:
        answer = await client.get("/users/@me")

    assert (answer.status_code, answer.json()["message"]) == (401, "401: Unauthorized")
    assert (discord.calls[0].path, discord.calls[0].token, discord.calls[0].status) == ("/users/@me", "other", 401)


async def test_messages_are_sent_read_changed_and_deleted(discord: FakeDiscord, rest: httpx.AsyncClient) -> None:
    """What one route writes the others read."""
    channel = discord.guild()["channels"][0]["id"]
    sent = (await rest.post(f"/channels/{channel}/messages", json={"content": "a"})).json()
    await rest.patch(f"/channels/{channel}/messages/{sent['id']}", json={"content": "b"})
    listed = (await rest.get(f"/channels/{channel}/messages")).json()
    gone = await rest.delete(f"/channels/{channel}/messages/{sent['id']}")
    missing = await rest.get(f"/channels/{channel}/messages/{sent['id']}")
    empty = await rest.post(f"/channels/{channel}/messages", json={"content": ""})

    assert [each["content"] for each in listed] == ["b"]
    assert gone.status_code == 204
    assert (missing.status_code, missing.json()["code"]) == (404, 10008)
    assert (empty.status_code, empty.json()["code"]) == (400, 50006)


async def test_files_come_in_parts(discord: FakeDiscord, rest: httpx.AsyncClient) -> None:
    """A multipart request's JSON is the body, its files are named."""
    channel = discord.guild()["channels"][0]["id"]
    parts = {"payload_json": (None, '{"content": "look"}', "application/json"), "files[0]": ("a.txt", b"x")}
    answer = await rest.post(f"/channels/{channel}/messages", files=parts)

    assert answer.json()["content"] == "look"
    assert (discord.calls[0].body, discord.calls[0].files) == ({"content": "look"}, ("a.txt",))


async def test_commands_are_global_or_a_guilds(discord: FakeDiscord, rest: httpx.AsyncClient) -> None:
    """A put replaces all of a scope and keeps the ids of those that stay."""
    home, app = discord.guild(), discord.world.application_id
    (first,) = (await rest.put(f"/applications/{app}/commands", json=[{"name": "a"}])).json()
    second = (await rest.put(f"/applications/{app}/commands", json=[{"name": "a"}, {"name": "b"}])).json()
    scoped = (await rest.post(f"/applications/{app}/guilds/{home['id']}/commands", json={"name": "c"})).json()
    foreign = await rest.get(f"/applications/{app}/guilds/5/commands")

    assert [each["name"] for each in second] == ["a", "b"]
    assert second[0]["id"] == first["id"]
    assert scoped["guild_id"] == home["id"]
    assert list(discord.world.commands[home["id"]].values()) == [scoped]
    assert foreign.status_code == 403


async def test_an_interaction_is_answered_once_and_in_time(discord: FakeDiscord, rest: httpx.AsyncClient) -> None:
    """Its token is the permission; too late and a second time are Discord's own errors."""
    asked = await discord.interaction("ping")
    answer = {"type": 4, "data": {"content": "pong"}}
    async with httpx.AsyncClient(base_url=discord.api_url) as nobody:
        first = await nobody.post(f"/interactions/{asked.id}/{asked.token}/callback", json=answer)
        second = await nobody.post(f"/interactions/{asked.id}/{asked.token}/callback", json=answer)
        hook = f"/webhooks/{discord.world.application_id}/{asked.token}"
        more = await nobody.post(hook, json={"content": "more"})
        original = (await nobody.get(f"{hook}/messages/@original")).json()
        discord.rest.interaction_deadline = 0.0
        late = await discord.interaction("ping")
        third = await nobody.post(f"/interactions/{late.id}/{late.token}/callback", json=answer)

    assert (first.status_code, second.json()["code"], third.json()["code"]) == (204, 40060, 10062)
    assert await asked.answered() == answer
    assert (original["content"], more.json()["content"]) == ("pong", "more")
    assert [each["content"] for each in asked.followups] == ["more"]


async def test_limits_are_told_in_headers_and_kept(discord: FakeDiscord, rest: httpx.AsyncClient) -> None:
    """A bucket belongs to a channel; what is beyond it is 429 and has no effect."""
    one, other = (each["id"] for each in discord.guild(channels=["a", "b"])["channels"])
    discord.limit("POST", "/channels/{channel_id}/messages", 2, 60)
    answers = [await rest.post(f"/channels/{one}/messages", json={"content": str(n)}) for n in range(3)]
    beside = await rest.post(f"/channels/{other}/messages", json={"content": "x"})

    assert [each.status_code for each in answers] == [200, 200, 429]
    assert [each.headers["x-ratelimit-remaining"] for each in answers] == ["1", "0", "0"]
    assert float(answers[2].json()["retry_after"]) > 50
    assert int(answers[2].headers["retry-after"]) >= 50
    assert beside.status_code == 200
    assert len(discord.world.messages[one]) == 2


async def test_the_next_requests_fail_as_planned(discord: FakeDiscord, rest: httpx.AsyncClient) -> None:
    """Only those that fit, only so many."""
    discord.throttle(1.5, scope="global", path="/users")
    discord.fail(503, times=2, method="GET")
    answers = [await rest.get("/users/@me") for _ in range(4)]

    assert [each.status_code for each in answers] == [429, 503, 503, 200]
    assert answers[0].json()["global"] is True
    assert answers[0].headers["x-ratelimit-scope"] == "global"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"token": "other"}, 4004),
        ({"shard": [3, 2]}, 4010),
        ({"shard": [0, 1]}, 4011),
        ({"intents": 1 << 40, "shard": [0, 2]}, 4013),
        ({"intents": 1 << 15, "shard": [0, 2]}, 4014),
    ],
    ids=["token", "shard", "sharding", "intents", "privileged"],
)
async def test_the_gateway_refuses_as_discord_does(discord: FakeDiscord, said: dict[str, Any], code: int) -> None:
    """Each reason has its closing code."""
    discord.gateway.required_shards = 2
    discord.gateway.allowed_intents = 513
    socket = await identified(discord, **said)
    with pytest.raises(ConnectionClosed) as raised:
        await frame(socket)

    assert raised.value.rcvd is not None
    assert raised.value.rcvd.code == code


@pytest.mark.parametrize(("sent", "code"), [("{", 4002), ('{"op": 99}', 4003), ('{"op": 2, "d": 5}', 4002)])
async def test_the_gateway_closes_on_nonsense(discord: FakeDiscord, sent: str, code: int) -> None:
    """What cannot be decoded, and what comes before IDENTIFY."""
    socket = await connect(f"{discord.gateway_url}/?v=10&encoding=json")
    await frame(socket)
    await socket.send(sent)
    with pytest.raises(ConnectionClosed) as raised:
        await frame(socket)

    assert raised.value.rcvd is not None
    assert raised.value.rcvd.code == code


async def test_a_resume_gets_what_was_missed(discord: FakeDiscord) -> None:
    """The same numbers, then RESUMED; a session that the client ended is gone."""
    home = discord.guild()
    socket = await identified(discord)
    ready = (await frame(socket))["d"]
    assert (await frame(socket))["t"] == "GUILD_CREATE"
    discord.cut()
    for number in range(3):
        await discord.message(str(number), guild=home)
    answers: list[dict[str, Any]] = []
    for close in (False, True):
        again = await connect(f"{ready['resume_gateway_url']}/?v=10&encoding=json")
        await frame(again)
        said = {"token": discord.token, "session_id": ready["session_id"], "seq": 2}
        await again.send(json.dumps({"op": 6, "d": said}))
        answers.append(await frame(again))
        if not close:
            answers += [await frame(again) for _ in range(3)]
            await again.close(1000)

    assert [(each["t"], each["s"]) for each in answers[:4]] == [
        ("MESSAGE_CREATE", 3), ("MESSAGE_CREATE", 4), ("MESSAGE_CREATE", 5), ("RESUMED", 6)
    ]  # fmt: skip
    assert (answers[4]["op"], answers[4]["d"]) == (9, False)


async def test_what_was_missed_is_kept_up_to_a_number(discord: FakeDiscord) -> None:
    """A session whose missed events are not all there any more cannot be resumed."""
    discord.gateway.sessions.kept = 2
    home = discord.guild()
    socket = await identified(discord)
    ready = (await frame(socket))["d"]
    discord.cut()
    for number in range(5):
        await discord.message(str(number), guild=home)
    again = await connect(f"{discord.gateway_url}/?v=10&encoding=json")
    await frame(again)
    await again.send(json.dumps({"op": 6, "d": {"token": discord.token, "session_id": ready["session_id"], "seq": 2}}))

    assert (await frame(again))["op"] == 9


async def test_intents_hide_what_they_hide(discord: FakeDiscord) -> None:
    """Without message_content a guild's messages come empty; without their intent, events do not come."""
    home = discord.guild()
    socket = await identified(discord, intents=512)
    await frame(socket)
    await discord.message("secret", guild=home)
    discord.dispatch("TYPING_START", {"guild_id": home["id"], "user_id": "5"})
    await discord.message(f"hey <@{discord.user['id']}>", guild=home)
    seen = [await frame(socket) for _ in range(2)]

    assert [(each["t"], each["d"]["content"]) for each in seen] == [
        ("MESSAGE_CREATE", ""), ("MESSAGE_CREATE", f"hey <@{discord.user['id']}>")
    ]  # fmt: skip


async def test_a_second_identify_in_the_pause_is_an_invalid_session(discord: FakeDiscord) -> None:
    """As Discord answers shards of one concurrency bucket that do not wait for each other."""
    discord.gateway.identify_every = 60
    first = await identified(discord, shard=[0, 2])
    second = await identified(discord, shard=[1, 2])

    assert (await frame(first))["t"] == "READY"
    assert (await frame(second))["op"] == 9


async def test_the_certificate_is_good_for_discord_alone(discord: FakeDiscord) -> None:
    """Clients check it as they check Discord's own; other names and other clients do not take it."""

    async def hello(name: str, trust: ssl.SSLContext) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", discord.tls_port, ssl=trust, server_hostname=name)
        writer.write(f"GET /api/v10/gateway HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        return answer

    trust = discord.certificate.client()

    assert '"wss://gateway.discord.gg"' in await hello("discord.com", trust)
    with pytest.raises(ssl.SSLCertVerificationError):
        await hello("example.com", trust)
    with pytest.raises(ssl.SSLCertVerificationError):
        await hello("discord.com", ssl.create_default_context())
