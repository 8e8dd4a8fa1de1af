"""Guilds as a gateway introduces them, put together from the REST interface: a claim comes later than Discord's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote

import msgspec

from valhalla.kernel.problems import Unavailable
from valhalla.sandbox.routing.discord.bots import protocol
from valhalla.sandbox.routing.discord.bots.protocol import Members
from valhalla.sandbox.routing.discord.outbound.pacing import Pacer, TooMany
from valhalla.sandbox.routing.discord.outbound.rules import Call, bucket
from valhalla.sandbox.routing.discord.outbound.upstream import NotSent, Unanswered, Upstream, document

Doc = dict[str, Any]

_PAGE: Final = 1000
_NAMED: Final = 100
_GUILDS: Final = 200
_FRESH: Final = 60.0
_TRIES: Final = 4
_EMPTY: Final = (
    "presences",
    "voice_states",
    "stage_instances",
    "guild_scheduled_events",
    "soundboard_sounds",
)


class _Guild(msgspec.Struct):
    id: str
    unavailable: bool = False


_guild: Final = msgspec.json.Decoder(_Guild).decode


class Guilds:
    """Asks Discord with the real token, within its limits. ``me`` is the id of the bot's user."""

    def __init__(self, upstream: Upstream, pacer: Pacer, me: str) -> None:
        self._upstream = upstream
        self._pacer = pacer
        self._me = me
        self.mine: set[str] = set()
        """The guilds that the bot is in, as far as is known since ``refresh``."""
        self._fresh_until = 0.0

    async def refresh(self) -> None:
        """Ask which guilds the bot is in, if that was long ago.

        Raises:
            Unavailable: Discord does not say.
        """
        now = asyncio.get_running_loop().time
        if now() < self._fresh_until:
            return
        found: set[str] = set()
        while True:
            after = max(found, key=int, default="0")
            page: Any = await self._get("", "/users/@me/guilds", f"limit={_GUILDS}&after={after}")
            if not isinstance(page, list):
                raise Unavailable("discord", "GET /users/@me/guilds is not answered")
            known: list[Doc] = page  # pyright: ignore[reportUnknownVariableType]
            before = len(found)
            found |= {str(each["id"]) for each in known}
            if len(known) < _GUILDS or len(found) == before:
                break
        self.mine = found
        self._fresh_until = now() + _FRESH

    def note(self, event: str, data: bytes) -> None:
        """Take note that the bot came into a guild, or left one."""
        if event == "GUILD_CREATE":
            self.mine.add(_guild(data).id)
        elif event == "GUILD_DELETE" and not _guild(data).unavailable:
            self.mine.discard(_guild(data).id)

    async def introduce(self, sandbox: str, guild: str) -> Doc | None:
        """Return what GUILD_CREATE says of a guild; None while Discord does not tell."""
        known = await self._get(sandbox, f"/guilds/{guild}", "with_counts=true")
        if not isinstance(known, dict):
            return None
        found: Doc = known  # pyright: ignore[reportUnknownVariableType]
        channels, threads, mine = await asyncio.gather(
            self._get(sandbox, f"/guilds/{guild}/channels"),
            self._get(sandbox, f"/guilds/{guild}/threads/active"),
            self._get(sandbox, f"/guilds/{guild}/members/{self._me}"),
        )
        if not isinstance(channels, list) or not isinstance(mine, dict):
            return None
        active = threads.get("threads") if isinstance(threads, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        count = int(found.get("approximate_member_count") or found.get("member_count") or 1)
        return {
            **found,
            **{name: [] for name in _EMPTY},
            "channels": channels,
            "threads": active if isinstance(active, list) else [],
            "members": [mine],
            "member_count": count,
            "large": count > 250,
            "joined_at": mine.get("joined_at"),  # pyright: ignore[reportUnknownMemberType]
        }

    async def members(self, sandbox: str, guild: str, wanted: Members) -> AsyncIterator[Doc]:
        """Yield what GUILD_MEMBERS_CHUNK says, a page after the other; the last one says that it is."""
        about: Doc = {"guild_id": guild, "presences": []}
        if wanted.nonce is not None:
            about["nonce"] = wanted.nonce
        named = protocol.ids(wanted.user_ids)[:_NAMED]
        if named or wanted.query:
            found, missing = await self._some(sandbox, guild, wanted, named)
            yield {**about, "members": found, "not_found": missing, "chunk_index": 0, "chunk_count": 1}
            return
        after, index = "0", 0
        while True:
            page: Any = await self._get(sandbox, f"/guilds/{guild}/members", f"limit={_PAGE}&after={after}")
            members: list[Doc] = page if isinstance(page, list) else []  # pyright: ignore[reportUnknownVariableType]
            is_last = len(members) < _PAGE
            yield {**about, "members": members, "chunk_index": index, "chunk_count": index + (1 if is_last else 2)}
            if is_last:
                return
            after, index = max((str(each["user"]["id"]) for each in members), key=int), index + 1

    async def _some(self, sandbox: str, guild: str, wanted: Members, named: list[str]) -> tuple[list[Doc], list[str]]:
        if not named:
            query = f"query={quote(wanted.query or '', safe='')}&limit={max(1, min(wanted.limit or _NAMED, _PAGE))}"
            found = await self._get(sandbox, f"/guilds/{guild}/members/search", query)
            return (found if isinstance(found, list) else []), []  # pyright: ignore[reportUnknownVariableType]
        members: list[Doc] = []
        missing: list[str] = []
        for each in named:
            one = await self._get(sandbox, f"/guilds/{guild}/members/{each}") if each.isdigit() else None
            if isinstance(one, dict):
                members.append(one)  # pyright: ignore[reportUnknownArgumentType]
            else:
                missing.append(each)
        return members, missing

    async def _get(self, sandbox: str, path: str, query: str = "") -> Any:
        """Return a document, None if Discord does not give it."""
        key = bucket(Call("guild", "GET", path))
        for _ in range(_TRIES):
            try:
                await self._pacer.turn(sandbox, key)
                reply = await self._upstream.send("GET", path, query=query)
            except TooMany as limit:
                await asyncio.sleep(min(limit.seconds, 10.0))
                continue
            except (NotSent, Unanswered):
                return None
            self._pacer.learn(sandbox, key, reply.status, reply.headers)
            if reply.status != 429:
                return document(reply) if reply.status == 200 else None
        return None


def write(data: Doc) -> bytes:
    """Write an event's data."""
    return msgspec.json.encode(data)
