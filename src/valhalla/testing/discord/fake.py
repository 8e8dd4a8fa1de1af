"""``FakeDiscord``: a Discord on this machine, for tests of bots."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from valhalla.testing.discord.calls import Call
from valhalla.testing.discord.certificate import Certificate
from valhalla.testing.discord.documents import Doc
from valhalla.testing.discord.gateway import Gateway
from valhalla.testing.discord.rest import Rest
from valhalla.testing.discord.serving import Listening
from valhalla.testing.discord.world import Interaction, World

if TYPE_CHECKING:
    from aiohttp import TCPConnector

# types of options of commands, by what Python calls them
_OPTIONS: Final[Mapping[type, int]] = {bool: 5, int: 4, float: 10, str: 3}


class FakeDiscord:
    """Gateway and REST on an own port of loopback, with and without TLS.

    ``async with FakeDiscord() as discord:`` starts and stops it. ``token`` is the only bot token that it takes.
    """

    def __init__(self, *, token: str = "fake-token", port: int = 0) -> None:  # noqa: S107 - it opens nothing
        self.token = token
        self.world = World()
        self.gateway = Gateway(self.world, token)
        self.rest = Rest(self.gateway)
        self.certificate = Certificate()
        self._plain = Listening(self._serve, port=port)
        self._tls = Listening(self._serve, self.certificate.server())

    async def __aenter__(self) -> Self:
        await asyncio.gather(self._plain.start(), self._tls.start())
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(self._plain.stop(), self._tls.stop())

    # --- where it is

    @property
    def api_url(self) -> str:
        """The REST interface, for clients that can be told a base: ``http://127.0.0.1:PORT/api/v10``."""
        return f"http://127.0.0.1:{self._plain.port}/api/v10"

    @property
    def gateway_url(self) -> str:
        """The gateway, for clients that can be told one: ``ws://127.0.0.1:PORT``."""
        return f"ws://127.0.0.1:{self._plain.port}"

    @property
    def tls_port(self) -> int:
        """The port that speaks TLS for Discord's own host names."""
        return self._tls.port

    def connector(self) -> TCPConnector:
        """Return aiohttp's connector that leads Discord's names here and every other name nowhere.

        ``discord.Client(connector=...)`` takes it; it needs a running loop and serves one client.
        """
        from valhalla.testing.discord.pointing import connector

        return connector(self._tls.port, self.certificate)

    # --- what there is

    @property
    def user(self) -> Doc:
        """The bot's own user."""
        return self.world.me

    def person(self, name: str) -> Doc:
        """Make a user who is no bot."""
        return self.world.user(name)

    def guild(
        self,
        name: str = "guild",
        *,
        channels: Iterable[str] = ("general",),
        guild_id: str | None = None,
        shard: int = 0,
    ) -> Doc:
        """Make a guild with text channels; ``shard`` says which of ``gateway.shards`` it falls to."""
        ids = self.world.ids
        chosen = guild_id or ids.next_of_shard(shard, self.gateway.shards)
        made = self.world.guild(name, chosen, channels)
        self.dispatch("GUILD_CREATE", made, guild_id=made["id"])
        return made

    # --- what happens

    def dispatch(self, event: str, data: Mapping[str, Any], *, guild_id: str | None = None) -> int:
        """Let the gateway tell of any event; returns how many sessions it concerned.

        Whose event it is says ``guild_id``, else the data's own.
        """
        return self.gateway.sessions.dispatch(event, dict(data), guild_id or data.get("guild_id"))

    async def message(
        self,
        content: str,
        *,
        channel: Doc | str | None = None,
        guild: Doc | None = None,
        author: Doc | None = None,
        **members: Any,
    ) -> Doc:
        """Let somebody write a message, without ``channel`` in the first one of the (first) guild."""
        made = self.world.message(
            self._channel(channel, guild)["id"], author or self.world.person(), {"content": content, **members}
        )
        self.rest.tell_message("MESSAGE_CREATE", made)
        await asyncio.sleep(0)
        return made

    async def direct(self, content: str, *, author: Doc | None = None) -> Doc:
        """Let somebody write to the bot in private."""
        author = author or self.world.person()
        return await self.message(content, channel=self.world.direct(author), author=author)

    async def interaction(
        self,
        command: str,
        options: Mapping[str, str | bool | float] | None = None,
        *,
        channel: Doc | str | None = None,
        guild: Doc | None = None,
        user: Doc | None = None,
    ) -> Interaction:
        """Let somebody use a slash command; ``await interaction.answered()`` is the bot's first answer.

        The command need not be registered. ``"group sub"`` names one in a group.
        """
        name, *below = command.split()
        given: list[Doc] = [{"name": key, "type": _type(each), "value": each} for key, each in (options or {}).items()]
        for depth, each in enumerate(reversed(below)):
            given = [{"name": each, "type": 1 if depth == 0 else 2, "options": given}]
        where = self._channel(channel, guild)
        registered = self._registered(name, where.get("guild_id"))
        data = {"id": registered["id"], "name": name, "type": 1, "options": given}
        if "guild_id" in registered:
            data["guild_id"] = registered["guild_id"]
        return await self._interact(2, data, where, user)

    async def click(self, message: Doc, custom_id: str, *, user: Doc | None = None) -> Interaction:
        """Let somebody press a button of a message."""
        where = self.world.channels[message["channel_id"]]
        return await self._interact(3, {"custom_id": custom_id, "component_type": 2}, where, user, message)

    async def _interact(
        self, kind: int, data: Doc, channel: Doc, user: Doc | None, message: Doc | None = None
    ) -> Interaction:
        made = self.world.interaction(kind, data, channel, user or self.world.person(), message)
        self.dispatch("INTERACTION_CREATE", made.document)
        await asyncio.sleep(0)
        return made

    # --- what the bot did

    @property
    def calls(self) -> list[Call]:
        """Every request to the REST interface, in order."""
        return self.rest.calls

    async def called(self, method: str, path: str, *, count: int = 1, within: float = 5.0) -> Call:
        """Wait for the ``count``-th request of this kind and return it; ``*`` in the path stands for anything.

        Raises:
            TimeoutError: it was not made within so many seconds.
        """
        return await self.rest.wait_for(method, path, count=count, within=within)

    async def connected(self, shards: int = 1, *, within: float = 10.0) -> None:
        """Wait until so many shards have sessions and are connected.

        Raises:
            TimeoutError: they are not within so many seconds.
        """
        async with asyncio.timeout(within):
            while len(self.gateway.of_shard(None)) < shards:
                self.gateway.changed.clear()
                await self.gateway.changed.wait()

    # --- what goes wrong

    def limit(self, method: str, template: str, count: int, seconds: float) -> None:
        """Allow a route, such as ``/channels/{channel_id}/messages``, so many requests in so many seconds."""
        self.rest.limits.rules[method.upper(), template] = (count, seconds)

    def throttle(
        self,
        retry_after: float = 0.2,
        *,
        times: int = 1,
        scope: str = "user",
        method: str | None = None,
        path: str | None = None,
    ) -> None:
        """Answer the next requests (whose path holds ``path``) with 429; ``scope`` is user, global or shared."""
        self.rest.throttle(retry_after, times=times, scope=scope, method=method, path=path)

    def fail(self, status: int, *, times: int = 1, method: str | None = None, path: str | None = None) -> None:
        """Answer the next requests (whose path holds ``path``) with an error."""
        from valhalla.testing.discord.limits import Refusal

        body: Doc = {"message": f"{status}: planned", "code": 0}
        self.rest.limits.refusals.append(Refusal(status, body, {}, times, method, path))

    def cut(self, shard: int | None = None) -> int:
        """Break connections off without a word; their sessions can be resumed. Returns how many."""
        found = self.gateway.of_shard(shard)
        for each in found:
            if each.session is not None:
                each.session.wire = None
            self._plain.cut(each.peer)
            self._tls.cut(each.peer)
        return len(found)

    def close(self, code: int, shard: int | None = None, reason: str = "") -> None:
        """Close connections with a code of the gateway's."""
        for each in self.gateway.of_shard(shard):
            if each.session is not None:
                each.session.wire = None
            each.close(code, reason)

    def reconnect(self, shard: int | None = None) -> None:
        """Ask clients to connect anew and resume (op 7)."""
        for each in self.gateway.of_shard(shard):
            each.say(7)

    def invalidate(self, shard: int | None = None, *, resumable: bool = False) -> None:
        """Say that sessions are invalid (op 9); those that are not resumable are forgotten."""
        for each in self.gateway.of_shard(shard):
            each.say(9, data=resumable)
            session = each.session
            if session is not None:
                session.wire = None
                each.session = None
                if not resumable:
                    self.gateway.sessions.end(session)

    # --- inside

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            url = self.gateway_url if scope["scheme"] == "ws" else "wss://gateway-us-east1-b.discord.gg"
            await self.gateway.serve(scope, receive, send, url)
        elif scope["type"] == "http":
            await self.rest.serve(scope, receive, send)

    def _channel(self, channel: Doc | str | None, guild: Doc | None) -> Doc:
        if isinstance(channel, str):
            named = [each for each in self.world.channels.values() if channel in (each["id"], each.get("name"))]
            return named[0]
        if channel is not None:
            return channel
        of = guild or next(iter(self.world.guilds.values()), None) or self.guild()
        return of["channels"][0]

    def _registered(self, name: str, guild_id: str | None) -> Doc:
        for scope in (guild_id, None):
            for each in self.world.commands.get(scope, {}).values():
                if each["name"] == name:
                    return each
        return {"id": self.world.ids.next()}


def _type(value: str | bool | float) -> int:
    return _OPTIONS[type(value)]
