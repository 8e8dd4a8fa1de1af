"""Signed notes: a few lines of text with an ed25519 signature, which tools of others check without us.

The forms are those of https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint. The hash in a checkpoint of
ours is the head of a chain, not the root of a tree; docs/logs.md says how to recompute it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from valhalla.kernel.clock import isoformat
from valhalla.kit.errors import BadCheckpoint

_ED25519: Final = b"\x01"
_MARK: Final = "— "
_LONGEST: Final = 16_384


class Checkpoint(NamedTuple):
    """What was signed: the first ``size`` entries of ``origin`` end in ``hash``."""

    origin: str
    size: int
    hash: bytes


def verifier(name: str, public: bytes) -> str:
    """Return the form in which a public key is noted down: name, id and key."""
    return f"{name}+{_key_id(name, public).hex()}+{base64.b64encode(_ED25519 + public).decode()}"


def compose(checkpoint: Checkpoint, sealed_at: datetime, public: bytes, sign: Callable[[bytes], bytes]) -> str:
    """Return the note of a checkpoint; the key has the origin's name."""
    origin, size, head = checkpoint
    text = f"{origin}\n{size}\n{base64.b64encode(head).decode()}\nsealed {isoformat(sealed_at)}\n"
    signed = _key_id(origin, public) + sign(text.encode())
    return f"{text}\n{_MARK}{origin} {base64.b64encode(signed).decode()}\n"


def opened(note: str, key: str) -> Checkpoint:
    """Return what a note says, if the holder of ``key`` (as of ``verifier``) signed it.

    Raises:
        BadCheckpoint: it is not signed by that key, or has not the form.
    """
    name, public = _key(key)
    text, blank, signatures = note.partition("\n\n")
    if len(note) > _LONGEST or not blank:
        raise BadCheckpoint("it has no signature")
    text += "\n"
    for line in signatures.splitlines():
        if line.startswith(f"{_MARK}{name} "):
            signed = _decoded(line.rpartition(" ")[2])
            if signed[:4] == _key_id(name, public) and _is_signed(text.encode(), signed[4:], public):
                return _checkpoint(text)
    raise BadCheckpoint(f"it has no valid signature of {name}")


def _checkpoint(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) < 4 or not lines[1].isascii() or not lines[1].isdigit():
        raise BadCheckpoint("it is not origin, size and hash")
    return Checkpoint(lines[0], int(lines[1]), _decoded(lines[2]))


def _is_signed(text: bytes, signature: bytes, public: bytes) -> bool:
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    try:
        VerifyKey(public).verify(text, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def _key(key: str) -> tuple[str, bytes]:
    # a plus may stand in the base64, but not in a name
    name, plus, rest = key.strip().partition("+")
    number, also, encoded = rest.partition("+")
    raw = _decoded(encoded)
    if not plus or not also or raw[:1] != _ED25519 or len(raw) != 33 or number != _key_id(name, raw[1:]).hex():
        raise BadCheckpoint("the public key has not the form name+id+key")
    return name, raw[1:]


def _key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadCheckpoint("it is not base64") from error
