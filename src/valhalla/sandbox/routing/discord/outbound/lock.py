"""The lock: each call of a sandbox's bot passes, is pretended, or is refused."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing.discord.outbound import answers, bodies, claims, copies, rules
from valhalla.sandbox.routing.discord.outbound.answers import Pretence, Reply
from valhalla.sandbox.routing.discord.outbound.channels import Channels
from valhalla.sandbox.routing.discord.outbound.commands import scoped
from valhalla.sandbox.routing.discord.outbound.pacing import Pacer, TooMany
from valhalla.sandbox.routing.discord.outbound.rules import Call
from valhalla.sandbox.routing.discord.outbound.through import Through
from valhalla.sandbox.routing.discord.outbound.tokens import sandbox_of
from valhalla.sandbox.routing.discord.outbound.upstream import NotSent, Unanswered, Upstream, document
from valhalla.sandbox.routing.table import RouteTable

_PRETENDED: Final = 10_000
_OPEN: Final = frozenset({"interaction", "followup"})
_KEPT: Final = ("content-type", "x-audit-log-reason")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a bot; ``path`` is raw, with the version and without the query."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


Advice = Callable[[str, Asked], Mapping[str, Any]]
"""Returns what ``/gateway/bot`` says to the bot of a sandbox."""


class Writes(Protocol):
    """Does what changes something, so that it is known afterwards."""

    async def do(self, sandbox: str, call: Call, send: Callable[[], Awaitable[Reply]]) -> Reply:
        """Send it, once.

        Raises:
            NotSent, Unanswered, TooMany: as ``send``; or nobody may write now (``Problem``).
        """
        ...

    async def pretend(self, sandbox: str, call: Call, why: str) -> None:
        """Note what was not sent."""
        ...


class Lock:
    """Decides by the routes of each moment; ``runs`` says whether a sandbox does."""

    def __init__(
        self,
        cell: CellKey,
        upstream: Upstream,
        table: Callable[[], RouteTable | None],
        runs: Callable[[str], Awaitable[bool]],
        writes: Writes,
        *,
        pacer: Pacer | None = None,
    ) -> None:
        """``table`` returns the routes, None while nobody knows them: then nothing passes."""
        self._cell = cell
        self._upstream = upstream
        self._table = table
        self._runs = runs
        self._writes = writes
        self._pacer = pacer or Pacer()
        self._channels = Channels(upstream, self._pacer)
        self._pretence = Pretence()
        # each is a line of the ledger: as many in a second as Discord would take
        self._pretending = Pacer()
        self._pretended: OrderedDict[str, None] = OrderedDict()
        self._application: dict[str, Any] = {}
        self._bot: dict[str, Any] = {}
        self.counts: Counter[str] = Counter()
        self.advice: Advice | None = None
        """Where bots find their gateway; without it they are told where Discord's own is."""
        self.through: Through | None = None
        """Takes the calls of the real bot, if it may ask here."""

    async def start(self) -> str:
        """Connect to Discord; return the name of the application.

        Raises:
            TokenRefused, DiscordAway: the token is not valid, or Discord does not answer.
        """
        self._application = await self._upstream.start()
        bot: Any = self._application.get("bot")
        self._bot = bot if isinstance(bot, dict) else {"id": self._application["id"], "username": "bot", "bot": True}
        return str(self._application.get("name", ""))

    @property
    def identity(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """What Discord says of the application, and of the user that the bot is, since ``start``."""
        return self._application, self._bot

    def knows(self, asked: Asked) -> bool:
        """Say whether the request shows a sandbox's token, or needs none: no body is read of one that does neither."""
        if self.through is not None and self.through.takes(asked):
            return True
        is_open = rules.classify(asked.method, asked.path).subject in _OPEN
        return is_open or sandbox_of(self._cell, asked.headers.get("authorization")) is not None

    async def answer(self, asked: Asked) -> Reply:
        """Answer one request.

        Raises:
            Problem: what changes something cannot be noted, or nobody knows which sandboxes run; nothing was sent.
        """
        if self.through is not None and self.through.takes(asked):
            return self._count("through", await self.through.answer(asked))
        call = rules.classify(asked.method, asked.path)
        try:
            return await self._admit(call, asked)
        except TooMany as limit:
            return self._count("limited", answers.too_many(limit.seconds, everywhere=limit.everywhere))
        except bodies.Unreadable as error:
            return self._count("refused", answers.json(400, {"message": f"Valhalla: {error}", "code": 50_109}))
        except NotSent as error:
            return self._count("away", answers.away(f"nothing was sent: {error}"))
        except Unanswered:
            return self._count("unanswered", answers.unanswered())

    async def _admit(self, call: Call, asked: Asked) -> Reply:
        sandbox = sandbox_of(self._cell, asked.headers.get("authorization"))
        # who answers an interaction shows no bot token: the interaction's own is in the path
        if (sandbox is None and call.subject not in _OPEN) or (sandbox is not None and not await self._runs(sandbox)):
            return self._count("unauthorized", answers.unauthorized())
        if call.subject == "unknown":
            return self._refuse("this route is not let through")
        if call.subject in _OPEN:
            return await self._interaction(call, asked, sandbox or "")
        if call.subject in ("own", "gateway"):
            return await self._own(call, asked, sandbox or "")
        if (table := self._table()) is None:
            return self._count("away", answers.away("the routes are not known at the moment; nothing was sent"))
        return await self._by_routes(call, asked, sandbox or "", table)

    async def _own(self, call: Call, asked: Asked, sandbox: str) -> Reply:
        if call.subject == "gateway" and self.advice is not None:
            return self._count("passed", answers.json(200, self.advice(sandbox, asked)))
        return await self._pass(call, asked, sandbox)

    async def _interaction(self, call: Call, asked: Asked, sandbox: str) -> Reply:
        token = call.path.split("/")[3]
        if copies.is_copy(token):
            owner = copies.sandbox_of(self._cell, token)
            if owner is None or not await self._runs(owner):
                return self._count("unauthorized", answers.unauthorized())
            if call.reads:
                return self._count("refused", answers.json(404, {"message": "Unknown Message", "code": 10_008}))
            return await self._pretend(call, asked, owner, "production answers what the sandbox has a copy of")
        # the token came on this lane, and is good for one interaction alone; a channel's webhook is not
        if call.subject == "followup" and call.key != str(self._application.get("id")):
            return self._refuse("webhooks of channels are not let through")
        if not call.reads and bodies.foreign(self._read(call, asked), None):
            return self._refuse("an answer refers to no message")
        return await self._pass(call, asked, sandbox, with_token=False)

    async def _by_routes(self, call: Call, asked: Asked, sandbox: str, table: RouteTable) -> Reply:
        match call.subject:
            case "guilds":
                return await self._guilds(call, asked, sandbox, table)
            case "direct":
                return await self._pretend(call, asked, sandbox, "a direct message is no guild's")
            case "commands":
                return await self._commands(call, asked, sandbox, table)
            case _:
                return await self._of_guild(call, asked, sandbox, table)

    async def _of_guild(self, call: Call, asked: Asked, sandbox: str, table: RouteTable) -> Reply:
        guild = call.key if call.subject == "guild" else None
        if call.subject == "channel":
            if call.key in self._pretended:
                return await self._pretend(call, asked, sandbox, "what it is about was pretended")
            guild = await self._channels.guild(call.key, sandbox)
        right = "none" if guild is None else claims.right(table, sandbox, guild)
        if call.reads:
            if right == "none" or (right == "look" and rules.tells_secrets(call)):
                return self._refuse("not this sandbox's guild" if right == "none" else "copies do not open this")
            return await self._pass(call, asked, sandbox, guild=guild)
        if right != "all":
            why = "copies of its events are the sandbox's, not the guild" if right == "look" else "not its guild"
            return await self._pretend(call, asked, sandbox, why)
        if call.subject == "channel" and bodies.foreign(self._read(call, asked), call.key):
            return self._refuse("a message of another channel is not carried along")
        parts = call.path.split("/")
        if len(parts) > 3 and parts[1] == "applications":
            path = "/".join(["", parts[1], str(self._application["id"]), *parts[3:]])
            call = Call(call.subject, call.method, path, call.key)
        return await self._pass(call, asked, sandbox, guild=guild)

    @staticmethod
    def _read(call: Call, asked: Asked) -> Any:
        names = None if call.subject == "guild" else bodies.FILE
        return bodies.read(asked.headers.get("content-type", ""), asked.body, names=names)

    async def _commands(self, call: Call, asked: Asked, sandbox: str, table: RouteTable) -> Reply:
        mine = claims.guilds(table, sandbox)
        if not mine and not call.reads and "/commands/" not in call.path:
            return await self._pretend(call, asked, sandbox, "no guild is the sandbox's")

        async def send(each: Call) -> Reply:
            return await self._pass(each, asked, sandbox, guild=each.key)

        return await scoped(call, str(self._application["id"]), mine, send)

    async def _guilds(self, call: Call, asked: Asked, sandbox: str, table: RouteTable) -> Reply:
        reply = await self._pass(call, asked, sandbox)
        found = document(reply)
        if reply.status != 200 or not isinstance(found, list):
            return reply
        listed: list[Any] = found  # pyright: ignore[reportUnknownVariableType]
        seen = [one for one in listed if claims.right(table, sandbox, str(one.get("id", ""))) != "none"]
        return Reply(200, msgspec.json.encode(seen), reply.headers)

    def _still(self, sandbox: str, guild: str, call: Call) -> bool:
        # a claim may have moved while the call waited: this is asked in the same step as the sending begins
        table = self._table()
        right = "none" if table is None else claims.right(table, sandbox, guild)
        return right == "all" or (right == "look" and call.reads)

    async def _pass(
        self, call: Call, asked: Asked, sandbox: str, *, guild: str | None = None, with_token: bool = True
    ) -> Reply:
        bucket = rules.bucket(call)
        headers = _headers(asked)

        # before it is an action: who asks too fast does not fill the ledger
        await self._pacer.turn(sandbox, bucket)

        async def send() -> Reply:
            if guild is not None and not self._still(sandbox, guild, call):
                raise NotSent("the routes have changed in the meantime")
            reply = await self._upstream.send(
                call.method,
                call.path,
                query=asked.query,
                body=asked.body or None,
                headers=headers,
                with_token=with_token,
            )
            self._pacer.learn(sandbox, bucket, reply.status, reply.headers)
            return reply

        # that it begins is noted first, also of an interaction with its three seconds: milliseconds, and nothing that
        # was sent is unknown. That it has ended is noted when Discord has it already
        reply = await send() if call.reads else await self._writes.do(sandbox, call, send)
        return self._count("passed", reply)

    async def _pretend(self, call: Call, asked: Asked, sandbox: str, why: str) -> Reply:
        reply = self._pretence.of(call, self._read(call, asked), self._bot)
        await self._pretending.turn(sandbox, sandbox)
        self._pretending.learn(sandbox, sandbox, 200, {})
        await self._writes.pretend(sandbox, call, why)
        if call.subject == "direct":
            self._remember(str(document(reply)["id"]))
        return self._count("pretended", reply)

    def _remember(self, channel: str) -> None:
        if len(self._pretended) >= _PRETENDED:
            self._pretended.popitem(last=False)
        self._pretended[channel] = None

    def _refuse(self, why: str) -> Reply:
        return self._count("refused", answers.refused(why))

    def _count(self, what: str, reply: Reply) -> Reply:
        self.counts[what] += 1
        return reply


def _headers(asked: Asked) -> dict[str, str]:
    found = {name: asked.headers[name] for name in _KEPT if name in asked.headers}
    return {name: value for name, value in found.items() if value.isascii() and value.isprintable()}


async def patiently(lock: Lock, asked: Asked, seconds: float) -> Reply:
    """Answer within a time in seconds: a bot that waits for ever waits for its next heartbeat too."""
    try:
        async with asyncio.timeout(seconds):
            return await lock.answer(asked)
    except TimeoutError:
        return answers.unanswered()
