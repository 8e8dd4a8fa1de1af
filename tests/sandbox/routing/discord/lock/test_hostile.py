"""A bot that wants to reach more than its guild gets nothing of it to Discord."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from tests.sandbox.routing.discord.scene import Scene, first
from yarl import URL

pytestmark = pytest.mark.slow


async def test_no_message_of_another_channel_is_carried_along(scene: Scene) -> None:
    """As JSON, in a form, twice, and in the answer to a command."""
    home, other = scene.fake.guild("home"), scene.fake.guild("other")
    box = await scene.sandbox(home)
    forward = {"message_reference": {"type": 1, "channel_id": first(other), "message_id": "1"}}
    path = f"/channels/{first(home)}/messages"
    asked = await scene.fake.interaction("ping", guild=home)
    form = aiohttp.FormData()
    form.add_field("payload_json", json.dumps(forward))
    form.add_field("files[0]", b"x", filename="x.txt")
    twice = f'{{"message_reference": {json.dumps(forward["message_reference"])}, "message_reference": null}}'

    assert (await scene.ask(box, "POST", path, forward))[0] == 403
    assert (await scene.ask(box, "POST", path, data=form))[0] == 403
    assert (await scene.ask(box, "POST", path, data=twice, headers={"Content-Type": "application/json"}))[0] == 400
    assert (await scene.ask(box, "POST", path, data={"message_reference[channel_id]": first(other)}))[0] == 400
    callback = f"/interactions/{asked.document['id']}/{asked.token}/callback"
    assert (await scene.ask(None, "POST", callback, {"type": 4, "data": forward}))[0] == 403
    assert scene.sent() == []


async def test_what_a_hostile_bot_tries(scene: Scene) -> None:
    """Other hosts, other forms of a target, odd framing, headers inside headers: Discord sees none of it."""
    home, other = scene.fake.guild("home"), scene.fake.guild("other")
    box = await scene.sandbox(home)
    auth = f"Authorization: Bot {scene.token(box)}\r\n".encode()
    for path in (f"/guilds/{home['id']}/../{other['id']}", f"/guilds/{home['id']}/%2e%2e/{other['id']}/channels"):
        assert (await scene.ask(box, "GET", path))[0] == 403
    body = b'{"content":"x"}'
    inside = f"/api/v10/channels/{first(other)}/messages".encode()
    tried = [
        b"GET http://127.0.0.1:1/api/v10/users/@me HTTP/1.1\r\nHost: evil\r\n" + auth + b"\r\n",
        b"GET http://discord.com/api/v10/users/@me HTTP/1.1\r\nHost: discord.com\r\n" + auth + b"\r\n",
        b"CONNECT discord.com:443 HTTP/1.1\r\nHost: discord.com\r\n" + auth + b"\r\n",
        b"POST " + inside + b" HTTP/1.1\r\nHost: x\r\n" + auth
        + b"Content-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + body,
        b"POST " + inside + b" HTTP/1.1\r\nHost: x\r\n" + auth
        + b"Content-Length: 15\r\nContent-Length: 1\r\n\r\n" + body,
        b"POST " + inside + b" HTTP/1.1\r\nHost: x\r\n" + auth + auth + b"Content-Length: 15\r\n\r\n" + body,
        b"GET /api/v10/users/@me HTTP/1.1\r\nHost: x\r\n" + auth + b"X-Audit-Log-Reason: a\r\n Bot: b\x00\r\n\r\n",
    ]  # fmt: skip
    before = len(scene.fake.calls)
    for one in tried:
        answer = await scene.raw(one)
        assert b" 200 " not in answer.split(b"\r\n")[0], one
        assert scene.fake.token.encode() not in answer
    assert scene.sent() == []
    assert len(scene.fake.calls) == before


async def test_headers_of_a_bot_do_not_reach_discord(scene: Scene) -> None:
    """But the two that belong to a call; a reason cannot hold another header."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    path = f"/channels/{first(home)}/messages"
    odd = {"Cookie": "a=b", "X-Forwarded-For": "1.2.3.4", "X-Super-Properties": "x", "Host": "evil", "Via": "x"}
    reasons = ["plain", "a%0D%0AX-Evil:%201"]
    for reason in reasons:
        status, _ = await scene.ask(box, "POST", path, {"content": "x"}, headers={**odd, "X-Audit-Log-Reason": reason})
        assert status == 200
    sent = [call.headers for call in scene.fake.calls if call.method == "POST"]
    assert [one["x-audit-log-reason"] for one in sent] == reasons
    for one in sent:
        assert not {"cookie", "x-forwarded-for", "x-super-properties", "x-evil", "via"} & set(one)
        assert one["host"] == f"127.0.0.1:{URL(scene.fake.api_url).port}"


async def test_webhooks_of_channels_are_refused(scene: Scene) -> None:
    """Whoever has such a token could write in any guild with it."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    for who in (box, None):
        assert (await scene.ask(who, "POST", f"/webhooks/{home['id']}/{'t' * 68}", {"content": "x"}))[0] == 403
    assert scene.sent() == []


async def test_a_redirect_is_not_followed(scene: Scene) -> None:
    """Whoever answers in Discord's place cannot have the token carried elsewhere, nor another guild be written to."""
    home, other = scene.fake.guild("home"), scene.fake.guild("other")
    box = await scene.sandbox(home)
    assert (await scene.ask(box, "GET", f"/channels/{first(home)}"))[0] == 200
    place = f"{scene.fake.api_url}/channels/{first(other)}/messages"

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 307 x\r\nLocation: {place}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(elsewhere, "127.0.0.1", 0)
    scene.lock._upstream._base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v10"
    status, _ = await scene.ask(box, "POST", f"/channels/{first(home)}/messages", {"content": "x"})
    server.close()
    assert status == 307
    assert scene.sent() == []
