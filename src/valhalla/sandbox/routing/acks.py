"""What a stream answers to a message: where it is, or why it is not. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from valhalla.sandbox.routing.frames import FULL

# "message size exceeds maximum allowed", "header size exceeds maximum allowed"
_NEVER: Final = frozenset({10054, 10097})


class Refusal(msgspec.Struct):
    """Why a message was not stored."""

    code: int = 0
    err_code: int = 0
    description: str = ""

    @property
    def is_for_ever(self) -> bool:
        """Whether the same message would be refused again, whenever it comes."""
        return self.err_code in _NEVER

    @property
    def is_for_room(self) -> bool:
        """Whether it would be stored if there were room."""
        return self.err_code in FULL


class Ack(msgspec.Struct):
    """An answer; ``duplicate``: a message with this id is there already."""

    seq: int = 0
    duplicate: bool = False
    error: Refusal | None = None


_decode: Final = msgspec.json.Decoder(Ack).decode


def read_ack(block: bytes | None, body: bytes) -> Ack:
    """Read an answer; nobody who listens is a refusal like another."""
    return Ack(error=Refusal(503)) if block is not None and b" 503" in block[:16] else _decode(body)
