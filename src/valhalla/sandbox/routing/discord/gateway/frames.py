"""Frames of the gateway, read only as far as routing needs: number, type, and whose an event is. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

DISPATCH: Final = 0
HEARTBEAT: Final = 1
IDENTIFY: Final = 2
RESUME: Final = 6
RECONNECT: Final = 7
INVALID_SESSION: Final = 9
HELLO: Final = 10
ACKNOWLEDGED: Final = 11

NOBODY: Final = "bot"
"""The key of what concerns neither a guild nor a user, such as a new name of the bot."""

_SNOWFLAKE: Final = re.compile(r"[0-9]{1,20}")
# what these are about is itself the guild
_GUILDS: Final = frozenset({"GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"})


class Frame(msgspec.Struct):
    """One frame; ``d`` stays as it came."""

    op: int
    d: msgspec.Raw = msgspec.Raw(b"null")
    s: int | None = None
    t: str | None = None


class _Named(msgspec.Struct):
    id: str | None = None


class _OfGuild(msgspec.Struct):
    guild_id: str | None = None


class _OfUser(msgspec.Struct):
    channel_id: str | None = None
    user_id: str | None = None
    author: _Named | None = None
    user: _Named | None = None


class Hello(msgspec.Struct):
    """HELLO: milliseconds between heartbeats."""

    heartbeat_interval: float


class Ready(msgspec.Struct):
    """READY: the session, and where it is resumed."""

    session_id: str
    resume_gateway_url: str


frame: Final = msgspec.json.Decoder(Frame).decode
hello: Final = msgspec.json.Decoder(Hello).decode
ready: Final = msgspec.json.Decoder(Ready).decode
_named: Final = msgspec.json.Decoder(_Named).decode
_of_guild: Final = msgspec.json.Decoder(_OfGuild).decode
_of_user: Final = msgspec.json.Decoder(_OfUser).decode
_encode: Final = msgspec.json.Encoder().encode


def key_of(event: str, data: msgspec.Raw) -> str:
    """Return whose lane an event belongs to: a guild's id, ``dm.<user>`` or ``dm.channel.<channel>``, or ``bot``.

    Direct messages have no guild, so nobody can claim them: they are production's.
    """
    try:
        guild = _named(data).id if event in _GUILDS else _of_guild(data).guild_id
        if guild is not None:
            return guild if _SNOWFLAKE.fullmatch(guild) else NOBODY
        about = _of_user(data)
    except msgspec.DecodeError:
        return NOBODY
    user = about.user_id or (about.author and about.author.id) or (about.user and about.user.id)
    if user and _SNOWFLAKE.fullmatch(user):
        return f"dm.{user}"
    if about.channel_id and _SNOWFLAKE.fullmatch(about.channel_id):
        return f"dm.channel.{about.channel_id}"
    return NOBODY


def shard_of(guild: str, shards: int) -> int:
    """Return which shard a guild's events come on."""
    return (int(guild) >> 22) % shards


def write(op: int, data: Any) -> str:
    """Write a frame to send."""
    return _encode({"op": op, "d": data}).decode()
