"""Sessions of bots. Their ids say everything about them, so that the next process can resume what this one began.

An event's number is how far it lies behind the session's beginning in the stream: it grows and has gaps, for other
events lie in between. So whoever knows session and number knows where in the lane to go on.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import struct
from dataclasses import dataclass, field
from typing import Final

from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing import subjects

_FORM: Final = struct.Struct(">HHQQ8s")
_PROOF: Final = 12
PRODUCTION: Final = "production"
"""In the place of a sandbox's id: the real bot, which is sent what nobody has claimed."""


def _drawn() -> bytes:
    return secrets.token_bytes(8)


@dataclass(frozen=True, slots=True)
class Session:
    """One identified shard of a bot. ``base`` is where in the stream it began."""

    sandbox: str
    shard: int
    shards: int
    intents: int
    base: int
    drawn: bytes = field(default_factory=_drawn)

    @property
    def lane(self) -> str:
        """What the subjects of its events begin with."""
        return lane_of(self.sandbox)

    def number(self, position: int) -> int:
        """Return the number of what lies at a position of the stream; READY has 1."""
        return max(position - self.base, 0) + 1

    def position(self, number: int) -> int:
        """Return the position behind which a bot goes on that has seen this number."""
        return self.base + max(number - 1, 0)

    def sees(self, key: str) -> bool:
        """Say whether events of this key are this shard's."""
        return self.shard == subjects.shard_of(key, self.shards)


def lane_of(sandbox: str) -> str:
    """Return what the subjects of events of Discord's begin with, on a sandbox's lane or on production's."""
    return f"{subjects.lane(None if sandbox == PRODUCTION else sandbox)}.{subjects.DISCORD}"


def write(cell: CellKey, session: Session) -> str:
    """Return the id of a session."""
    body = _FORM.pack(session.shard, session.shards, session.intents, session.base, session.drawn)
    return base64.b32encode(body + _proof(cell, session.sandbox, body)).decode().lower()


def read(cell: CellKey, sandbox: str, text: str) -> Session | None:
    """Return the session of an id, None if no process of this installation gave it to this sandbox."""
    try:
        found = base64.b32decode(text.upper().encode("ascii"))
    except (binascii.Error, ValueError):
        return None
    body, proof = found[: _FORM.size], found[_FORM.size :]
    if len(body) != _FORM.size or not hmac.compare_digest(proof, _proof(cell, sandbox, body)):
        return None
    shard, shards, intents, base, drawn = _FORM.unpack(body)
    return Session(sandbox, shard, shards, intents, base, drawn)


def _proof(cell: CellKey, sandbox: str, body: bytes) -> bytes:
    return cell.derive("discord.bot-session", sandbox, body.hex())[:_PROOF]
