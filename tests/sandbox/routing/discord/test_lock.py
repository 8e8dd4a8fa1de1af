"""The lock between discord.py and the fake Discord, over a real NATS and Postgres."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from discord.http import Route
from pydantic import SecretStr
from tests.sandbox.plane import Team
from yarl import URL

import discord
from valhalla.guard.guard import Guard
from valhalla.guard.stores.postgres import PostgresStore
from valhalla.kernel.clock import Clock
from valhalla.kit import natsauth
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.runtime import Runtime
from valhalla.sandbox.contracts import Sandbox
from valhalla.sandbox.routing.discord.bots.composing import gateway
from valhalla.sandbox.routing.discord.bots.line import Line
from valhalla.sandbox.routing.discord.bots.pace import Pace
from valhalla.sandbox.routing.discord.bots.server import Bots
from valhalla.sandbox.routing.discord.outbound.guarding import GuardedWrites
from valhalla.sandbox.routing.discord.outbound.lock import Lock
from valhalla.sandbox.routing.discord.outbound.pacing import Pacer
from valhalla.sandbox.routing.discord.outbound.running import Running
from valhalla.sandbox.routing.discord.outbound.serving import serve
from valhalla.sandbox.routing.discord.outbound.tokens import bot_token
from valhalla.sandbox.routing.discord.outbound.upstream import Upstream
from valhalla.sandbox.routing.ingress import Ingress
from valhalla.sandbox.routing.table import RouteTable
from valhalla.testing.discord import FakeDiscord

pytestmark = pytest.mark.slow


class Scene:
    """A Discord, the lock before it, and sandboxes whose bots ask the lock."""

    def __init__(self, runtime: Runtime, team: Team, fake: FakeDiscord, ingress: Ingress) -> None:
        self.runtime, self.team, self.fake, self.ingress = runtime, team, fake, ingress
        self.port = 0
        self.lock: Lock
        self.bots: Bots
        self.guard: Guard
        self.http: aiohttp.ClientSession

    async def sandbox(self, *guilds: dict[str, Any], mode: str = "steal") -> Sandbox:
        made = await self.team.new()
        for guild in guilds:
            await self.link(made, guild, mode=mode)
        return made

    async def link(self, sandbox: Sandbox, guild: dict[str, Any], **terms: Any) -> None:
        await self.runtime.sandboxes.link(self.team.principal, sandbox.id, "discord.guild", guild["id"], **terms)

    def token(self, sandbox: Sandbox) -> str:
        return bot_token(self.runtime.cell, sandbox.id)

    @asynccontextmanager
    async def bot(self, sandbox: Sandbox) -> AsyncGenerator[discord.Client]:
        client = discord.Client(intents=discord.Intents.none())
        await client.login(self.token(sandbox))
        try:
            yield client
        finally:
            await client.close()

    async def ask(
        self, sandbox: Sandbox | None, method: str, path: str, document: Any = None, **more: Any
    ) -> tuple[int, Any]:
        headers = {} if sandbox is None else {"Authorization": f"Bot {self.token(sandbox)}"}
        headers |= more.pop("headers", {})
        body = more if document is None else {"json": document, **more}
        url = URL(f"http://127.0.0.1:{self.port}/api/v10{path}", encoded=True)
        async with self.http.request(method, url, headers=headers, **body) as answer:
            text = await answer.read()
            return answer.status, json.loads(text) if text else None

    async def raw(self, sent: bytes) -> bytes:
        """Send bytes as they are; return what comes until the other side closes, or is silent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(sent)
        found = b""
        try:
            while part := await asyncio.wait_for(reader.read(65_536), 2 if not found else 0.3):
                found += part
        except (TimeoutError, ConnectionError):
            pass
        writer.close()
        return found

    def sent(self, *methods: str) -> list[tuple[str, str]]:
        """Return what has reached Discord besides what the lock asks for itself."""
        wanted = methods or ("POST", "PUT", "PATCH", "DELETE")
        return [(call.method, call.path) for call in self.fake.calls if call.method in wanted]


def first(guild: dict[str, Any]) -> str:
    """Return the id of a guild's first channel."""
    return str(guild["channels"][0]["id"])


@pytest.fixture
async def fake() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord(token=f"real-{secrets.token_hex(8)}") as made:
        yield made


@asynccontextmanager
async def locked(
    runtime: Runtime,
    team: Team,
    fake: FakeDiscord,
    *,
    db: Database | None = None,
    guard_url: str | None = None,
    pace: Pace | None = None,
    production: bool = False,
) -> AsyncGenerator[Scene]:
    url = runtime.settings.nats_url
    assert url is not None
    ingress = Ingress(url, natsauth.control_creds(runtime.cell), name="discord-api")
    guard = Guard(PostgresStore(guard_url or runtime.db.dsn))
    upstream = Upstream(fake.api_url, SecretStr(fake.token))
    used = db or runtime.db
    scene = Scene(runtime, team, fake, ingress)
    scene.guard = guard
    pacer, runs = Pacer(patience=2.0), Running(used, Clock())

    def table() -> RouteTable | None:
        return ingress.table if ingress.is_live else None

    writes = GuardedWrites(guard, used, Ledger(runtime.cell))
    scene.lock = Lock(runtime.cell, upstream, table, runs, writes, pacer=pacer)
    stop = asyncio.Event()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def until(port: int) -> None:
        ready.set_result(port)
        await stop.wait()

    await scene.lock.start()
    await ingress.start()
    line = Line(url, natsauth.control_creds(runtime.cell))
    real = SecretStr(fake.token) if production else None
    scene.bots = gateway(runtime.cell, scene.lock, upstream, pacer, line, table, runs, pace=pace, production=real)
    await scene.bots.start()
    serving = asyncio.create_task(serve(scene.lock, "127.0.0.1", 0, until, scene.bots))
    scene.port = await ready
    try:
        async with aiohttp.ClientSession() as scene.http:
            yield scene
    finally:
        stop.set()
        await serving
        await ingress.stop(patience=0)
        await upstream.close()
        guard.close()


@pytest.fixture
async def scene(
    runtime: Runtime, team: Team, fake: FakeDiscord, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    async with locked(runtime, team, fake) as made:
        monkeypatch.setattr(Route, "BASE", f"http://127.0.0.1:{made.port}/api/v10")
        yield made


async def test_a_bot_writes_in_its_guild_and_pretends_elsewhere(scene: Scene) -> None:
    """Discord.py sees no difference; Discord never sees the other message, nor the bot's own token."""
    home, other = scene.fake.guild("home"), scene.fake.guild("other")
    box = await scene.sandbox(home)
    async with scene.bot(box) as bot:
        for _ in range(2):
            sent = await bot.get_partial_messageable(int(first(home))).send("hello", file=discord.File(__file__))
        pretended = await bot.get_partial_messageable(int(first(other))).send("never")
        await pretended.edit(content="changed")
        await pretended.add_reaction("👍")
        await pretended.delete()
        channel = await bot.fetch_channel(int(first(home)))
        with pytest.raises(discord.Forbidden):
            await bot.fetch_channel(int(first(other)))
        with pytest.raises(discord.Forbidden):
            await bot.fetch_guild(int(other["id"]))
        guilds = [guild.id async for guild in bot.fetch_guilds()]

    assert sent.attachments
    assert sent.content == "hello"
    assert pretended.content == "never"
    assert pretended.id > sent.id
    assert channel.id == int(first(home))
    assert guilds == [int(home["id"])]
    assert scene.sent() == [("POST", f"/channels/{first(home)}/messages")] * 2
    assert {call.token for call in scene.fake.calls} == {scene.fake.token}
    assert not any(other["id"] in call.path for call in scene.fake.calls)


async def test_each_write_is_in_the_ledger_without_what_it_said(scene: Scene) -> None:
    """Those that were sent and those that were pretended; no body, no token."""
    home, other = scene.fake.guild("home"), scene.fake.guild("other")
    box = await scene.sandbox(home)
    asked = await scene.fake.interaction("ping", guild=home)
    for guild in (home, other):
        await scene.ask(box, "POST", f"/channels/{first(guild)}/messages", {"content": "whispered"})
    reply = {"type": 4, "data": {"content": "whispered"}}
    status, _ = await scene.ask(None, "POST", f"/interactions/{asked.document['id']}/{asked.token}/callback", reply)
    await scene.runtime.guard.carrier.once()
    page = await scene.runtime.db.read(scene.runtime.ledger.page, actor=f"sandbox:{box.id}", limit=50)
    told = [entry.action for entry in page.items]
    everything = " ".join(str(entry) for entry in page.items)

    assert status in (200, 204)
    assert sorted(told) == ["action.begin", "action.finish", "discord.pretended"]
    assert everything.count("discord.write") == 2
    assert f"POST /channels/{first(home)}/messages" in everything
    assert "whispered" not in everything
    assert scene.token(box) not in everything
    assert asked.token not in everything


async def test_a_slash_command_is_answered_in_time(scene: Scene) -> None:
    """By discord.py, which shows no bot token there; the fake refuses it after Discord's three seconds."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    async with scene.bot(box) as bot:
        asked = await scene.fake.interaction("ping", guild=home)
        made: Any = discord.Interaction(data=asked.document, state=bot._connection)  # type: ignore[arg-type]
        await made.response.send_message("pong")
        await made.followup.send("and more")
        await made.edit_original_response(content="changed")

    assert asked.callback is not None
    assert asked.callback["data"]["content"] == "pong"
    assert [one["content"] for one in asked.followups] == ["and more"]


async def test_global_commands_become_those_of_the_guild(scene: Scene) -> None:
    """A sync of discord.py's tree, as every bot makes it at its start."""
    home, second, other = (scene.fake.guild(name) for name in ("home", "second", "other"))
    box = await scene.sandbox(home, second)
    async with scene.bot(box) as bot:
        tree = discord.app_commands.CommandTree(bot)

        @tree.command(name="ping", description="x")
        async def ping(_: discord.Interaction) -> None: ...

        synced = await tree.sync()
        fetched = await tree.fetch_commands()
    async with scene.bot(await scene.sandbox()) as bot:
        tree = discord.app_commands.CommandTree(bot)
        tree.add_command(ping)
        nowhere = await tree.sync()

    application = scene.fake.user["id"]
    assert [one.name for one in synced] == [one.name for one in fetched] == [one.name for one in nowhere] == ["ping"]
    assert sorted(path.split("/")[-2] for _, path in scene.sent()) == sorted([home["id"], second["id"]])
    assert not any(path == f"/applications/{application}/commands" for _, path in scene.sent("PUT", "POST", "GET"))
    assert not any(other["id"] in call.path for call in scene.fake.calls)


async def test_copies_open_a_guild_for_reading_alone(scene: Scene) -> None:
    """What is written is pretended; what one could write with elsewhere is not shown."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home, mode="mirror")

    assert (await scene.ask(box, "GET", f"/channels/{first(home)}/messages"))[0] == 200
    assert (await scene.ask(box, "GET", f"/guilds/{home['id']}"))[0] == 200
    assert (await scene.ask(box, "POST", f"/channels/{first(home)}/messages", {"content": "x"}))[0] == 200
    for path in (f"/guilds/{home['id']}/webhooks", f"/channels/{first(home)}/webhooks"):
        assert (await scene.ask(box, "GET", path))[0] == 403
    assert scene.sent() == []
    assert not any("webhooks" in call.path for call in scene.fake.calls)


async def test_a_limit_of_discords_holds_for_all_bots_together(scene: Scene) -> None:
    """After a 429 nothing is sent before its time, whoever's it is."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    path = f"/channels/{first(home)}/messages"
    scene.fake.limit("POST", "/channels/{channel_id}/messages", 2, 60.0)
    found = [await scene.ask(box, "POST", path, {"content": "x"}) for _ in range(5)]

    assert [status for status, _ in found] == [200, 200, 429, 429, 429]
    assert 50 < found[2][1]["retry_after"] <= 60
    # the third was known to be too many: Discord was not asked
    assert scene.sent() == [("POST", path)] * 2

    scene.fake.throttle(60.0, scope="global")
    assert (await scene.ask(box, "GET", f"/guilds/{home['id']}"))[0] == 429
    before = len(scene.fake.calls)
    stranger = await scene.sandbox()
    status, told = await scene.ask(stranger, "GET", "/users/@me")
    assert (status, told["global"]) == (429, True)
    assert len(scene.fake.calls) == before


async def test_an_ended_sandbox_and_a_wrong_token_are_nobodys(scene: Scene) -> None:
    """Within the two seconds for which an answer is remembered."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    path = f"/channels/{first(home)}/messages"
    assert (await scene.ask(box, "POST", path, {"content": "x"}))[0] == 200
    proof = scene.token(box)
    for wrong in ("", proof, f"Bot {proof}x", f"Bot {scene.fake.token}", f"Bearer {proof}", f"Bot {proof} x"):
        status, _ = await scene.ask(None, "POST", path, {"content": "x"}, headers={"Authorization": wrong})
        assert status == 401
    assert scene.lock.counts["unauthorized"] == 6
    await scene.team.destroy(box.id)
    await asyncio.sleep(2.1)
    assert (await scene.ask(box, "POST", path, {"content": "late"}))[0] == 401
    assert (await scene.ask(box, "GET", "/users/@me"))[0] == 401
    assert all(call.body == {"content": "x"} for call in scene.fake.calls if call.method == "POST")


async def test_a_released_guild_is_closed_at_once(scene: Scene) -> None:
    """Also for a call that waits for its turn while the guild is given back."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    path = f"/channels/{first(home)}/messages"
    scene.fake.limit("POST", "/channels/{channel_id}/messages", 1, 1.0)
    assert (await scene.ask(box, "POST", path, {"content": "x"}))[0] == 200
    waiting = asyncio.create_task(scene.ask(box, "POST", path, {"content": "late"}))
    await asyncio.sleep(0.2)
    await scene.runtime.sandboxes.unlink(scene.team.principal, box.id, "discord.guild", home["id"])
    status, told = await waiting
    assert status == 503, told
    assert (await scene.ask(box, "GET", f"/guilds/{home['id']}"))[0] == 403
    assert len(scene.sent()) == 1


async def test_without_the_routes_nothing_passes(scene: Scene) -> None:
    """An ingress that has lost its lease knows nothing for sure."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    await scene.ingress.stop(patience=0)
    assert (await scene.ask(box, "POST", f"/channels/{first(home)}/messages", {"content": "x"}))[0] == 503
    assert (await scene.ask(box, "GET", f"/guilds/{home['id']}"))[0] == 503
    assert scene.sent() == []


async def test_without_the_guards_store_nothing_is_written(runtime: Runtime, team: Team, fake: FakeDiscord) -> None:
    """What could not be noted is not sent, not even the answer to a slash command; reading goes on."""
    async with locked(runtime, team, fake, guard_url="postgresql://nobody:x@127.0.0.1:1/nothing") as scene:
        home = fake.guild("home")
        box = await scene.sandbox(home)
        asked = await fake.interaction("ping", guild=home)
        assert (await scene.ask(box, "POST", f"/channels/{first(home)}/messages", {"content": "x"}))[0] == 503
        callback = f"/interactions/{asked.document['id']}/{asked.token}/callback"
        assert (await scene.ask(None, "POST", callback, {"type": 5}))[0] == 503
        assert (await scene.ask(box, "GET", f"/guilds/{home['id']}"))[0] == 200
        assert scene.sent() == []


async def test_without_the_database_nobody_is_known(runtime: Runtime, team: Team, fake: FakeDiscord) -> None:
    """Which sandboxes run cannot be asked."""
    db = Database("postgresql://nobody:x@127.0.0.1:1/nothing")
    async with locked(runtime, team, fake, db=db) as scene:
        home = fake.guild("home")
        box = await scene.sandbox(home)
        assert (await scene.ask(box, "POST", f"/channels/{first(home)}/messages", {"content": "x"}))[0] == 503
        assert scene.sent() == []
    await db.close()


async def test_an_answer_that_never_came_is_not_repeated(scene: Scene) -> None:
    """Nobody knows whether it was done: clients repeat after a 502, so this is none."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    assert (await scene.ask(box, "GET", f"/channels/{first(home)}"))[0] == 200

    async def broken(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(broken, "127.0.0.1", 0)
    scene.lock._upstream._base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v10"
    status, told = await scene.ask(box, "POST", f"/channels/{first(home)}/messages", {"content": "x"})
    server.close()
    assert status == 503
    assert "may have been done" in told["message"]
    status, told = await scene.ask(box, "POST", f"/channels/{first(home)}/messages", {"content": "x"})
    assert status == 503
    assert "nothing was sent" in told["message"]


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


async def test_bodies_are_bounded(scene: Scene) -> None:
    """Also those that do not say how long they are, and not one byte is read for nobody."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    path = f"/channels/{first(home)}/messages"

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 1_048_576

    kind = {"Content-Type": "application/json"}
    try:
        status, _ = await scene.ask(box, "POST", path, data=endless(), headers=kind)
    except aiohttp.ClientError:
        # it may have been closed before all was sent
        status = 413
    assert status == 413
    declared = f"POST /api/v10{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bot {scene.token(box)}\r\n"
    assert b" 413 " in await scene.raw(f"{declared}Content-Length: 99999999\r\n\r\n".encode())
    unknown = await scene.raw(f"POST /api/v10{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n".encode())
    assert b" 401 " in unknown
    assert scene.sent() == []


async def test_webhooks_of_channels_are_refused(scene: Scene) -> None:
    """Whoever has such a token could write in any guild with it."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    for who in (box, None):
        assert (await scene.ask(who, "POST", f"/webhooks/{home['id']}/{'t' * 68}", {"content": "x"}))[0] == 403
    assert scene.sent() == []


async def test_an_answer_to_a_command_waits_for_one_note_alone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it begins is noted before; Discord has the answer before it is noted that this has ended."""
    home = scene.fake.guild("home")
    box = await scene.sandbox(home)
    asked = await scene.fake.interaction("ping", guild=home)
    store: Any = scene.guard.store
    ends, had = store.acas, list[bool]()

    async def end(request: Any) -> Any:
        had.append(asked.callback is not None)
        return await ends(request)

    monkeypatch.setattr(store, "acas", end)
    callback = f"/interactions/{asked.document['id']}/{asked.token}/callback"
    assert (await scene.ask(box, "POST", callback, {"type": 5}))[0] in (200, 204)
    assert had == [True]


async def test_a_flood_of_one_bot_is_no_flood_of_the_ledger(scene: Scene) -> None:
    """Neither of pretended writes nor of those that have no turn; another's bot writes meanwhile."""
    home, second, other = (scene.fake.guild(name) for name in ("home", "second", "other"))
    box, quiet = await scene.sandbox(home), await scene.sandbox(second)
    scene.fake.limit("POST", "/channels/{channel_id}/messages", 1, 60.0)
    paths = [f"/channels/{first(guild)}/messages" for guild in (home, other)]
    assert (await scene.ask(box, "POST", paths[0], {"content": "x"}))[0] == 200

    async def patient(sandbox: Sandbox, path: str) -> tuple[int, Any]:
        # on a busy machine the routes may be unknown for a moment, as everybody is told
        while (answer := await scene.ask(sandbox, "POST", path, {"content": "x"}))[0] == 503:
            await asyncio.sleep(0.1)
        return answer

    found = await asyncio.gather(
        *(scene.ask(box, "POST", path, {"content": "x"}) for path in paths for _ in range(60)),
        patient(quiet, f"/channels/{first(second)}/messages"),
    )
    await scene.runtime.guard.carrier.once()
    page = await scene.runtime.db.read(scene.runtime.ledger.page, actor=f"sandbox:{box.id}", limit=200)
    pretended = sum(entry.action == "discord.pretended" for entry in page.items)

    assert found[-1][0] == 200
    assert {status for status, _ in found[:60]} - {503} == {429}
    assert pretended == sum(status == 200 for status, _ in found[60:120])
    assert sum(entry.action.startswith("action.") for entry in page.items) == 2


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
