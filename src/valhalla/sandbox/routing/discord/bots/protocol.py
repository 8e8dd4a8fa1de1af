"""The server's side of the gateway's protocol, version 10 in JSON: what bots say, and how they are closed. Pure.

https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from valhalla.sandbox.routing.discord.gateway import frames
from valhalla.sandbox.routing.discord.gateway.frames import Frame

LARGEST: Final = 4096
"""Bytes of a frame that a bot may send."""
MEMBERS: Final = 8
IGNORED: Final = frozenset({3, 4, 31})
"""Presence, voice and soundboard: the real bot has them."""

UNKNOWN_ERROR: Final = 4000
UNKNOWN_OPCODE, DECODE_ERROR, NOT_AUTHENTICATED, AUTHENTICATION_FAILED, ALREADY_AUTHENTICATED = range(4001, 4006)
INVALID_SEQ, RATE_LIMITED, SESSION_TIMED_OUT, INVALID_SHARD = range(4007, 4011)
INVALID_VERSION, INVALID_INTENTS, DISALLOWED_INTENTS = range(4012, 4015)
MAX_SHARDS: Final = 16_384


class Closing(Exception):  # noqa: N818 - it ends a connection as the protocol says
    """Close the connection with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Identify(msgspec.Struct):
    """IDENTIFY; what the client is called is nothing to us."""

    token: str
    intents: int
    shard: tuple[int, int] = (0, 1)


class Resume(msgspec.Struct):
    """RESUME: the events behind ``seq`` are wanted. discord.py resumes nothing, too, if it was not let in before."""

    token: str
    session_id: str | None = None
    seq: int | None = None


class Members(msgspec.Struct):
    """REQUEST_GUILD_MEMBERS; clients write ids as text or as numbers."""

    guild_id: int | str | list[int | str]
    query: str | None = None
    limit: int = 0
    user_ids: int | str | list[int | str] | None = None
    nonce: str | None = None


_identify: Final = msgspec.json.Decoder(Identify)
_resume: Final = msgspec.json.Decoder(Resume)
_members: Final = msgspec.json.Decoder(Members)
_encode: Final = msgspec.json.Encoder().encode


def read(message: str | bytes) -> Frame:
    """Read what a bot sent.

    Raises:
        Closing: it is too large, or no frame.
    """
    raw = message.encode(errors="replace") if isinstance(message, str) else message
    if len(raw) > LARGEST:
        raise Closing(DECODE_ERROR, "Payload exceeds 4096 bytes.")
    try:
        return frames.frame(raw)
    except (msgspec.DecodeError, RecursionError):
        raise Closing(DECODE_ERROR, "Error while decoding payload.") from None


def identify(frame: Frame) -> Identify:
    """Read an IDENTIFY.

    Raises:
        Closing: it has no token, or its intents or shard are none.
    """
    try:
        said = _identify.decode(frame.d)
    except msgspec.DecodeError as error:
        code = INVALID_SHARD if "$.shard" in str(error) else DECODE_ERROR
        code = INVALID_INTENTS if "intents" in str(error) else code
        raise Closing(code, "Error while decoding payload.") from None
    number, of = said.shard
    if not 0 <= number < of <= MAX_SHARDS:
        raise Closing(INVALID_SHARD, "Invalid shard.")
    return said


def resume(frame: Frame) -> Resume:
    """Read a RESUME.

    Raises:
        Closing: it is none.
    """
    try:
        return _resume.decode(frame.d)
    except msgspec.DecodeError as error:
        code = INVALID_SEQ if "seq" in str(error) else DECODE_ERROR
        raise Closing(code, "Error while decoding payload.") from None


def members(frame: Frame) -> Members:
    """Read a request for members.

    Raises:
        Closing: it is none.
    """
    try:
        return _members.decode(frame.d)
    except msgspec.DecodeError:
        raise Closing(DECODE_ERROR, "Error while decoding payload.") from None


def ids(said: int | str | list[int | str] | None) -> list[str]:
    """Return ids as text."""
    if said is None:
        return []
    return [str(each) for each in said] if isinstance(said, list) else [str(said)]


def say(op: int, data: Any = None) -> bytes:
    """Write an operation that is no event."""
    return _encode({"t": None, "s": None, "op": op, "d": data})


def event(name: str, sequence: int, data: bytes) -> bytes:
    """Write an event; ``data`` is JSON and stays as it is."""
    return b'{"t":%b,"s":%d,"op":0,"d":%b}' % (_encode(name), sequence, data)
