"""The tokens of agents: JSON Web Tokens (HS256) of an hour, short enough for the gate. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import Any, Final, NamedTuple, cast

import msgspec

LIFETIME: Final = 3600
_HEAD: Final = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
_MACHINE: Final = re.compile(r"[A-Za-z0-9_.@-]{1,48}")


class Token(NamedTuple):
    """Whose it is; ``until`` in seconds since the epoch."""

    client_id: str
    machine_id: str
    until: int


def machine_name(text: str) -> str:
    """Return the name of a machine as a token has it: the gate takes tokens of 256 characters."""
    if _MACHINE.fullmatch(text) is not None:
        return text
    return f"={hashlib.sha256(text.encode()).hexdigest()[:32]}"


def sign(token: Token, secret: bytes) -> str:
    """Return the token as text."""
    payload = msgspec.json.encode({"sub": token.client_id, "mid": token.machine_id, "exp": token.until})
    body = _HEAD + b"." + base64.urlsafe_b64encode(payload).rstrip(b"=")
    return (body + b"." + _signature(body, secret)).decode()


def read(text: str, secret: bytes, now: float) -> Token | None:
    """Return what a token says, None for one that is not ours or has expired."""
    body, _, signature = text.rpartition(".")
    try:
        raw, given = body.encode("ascii"), signature.encode("ascii")
    except UnicodeEncodeError:
        return None
    if not hmac.compare_digest(_signature(raw, secret), given) or not body.startswith(_HEAD.decode() + "."):
        return None
    try:
        payload = body.rpartition(".")[2]
        document: Any = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError):
        return None
    found = cast("dict[str, Any]", document)
    token = Token(str(found.get("sub")), str(found.get("mid")), int(found.get("exp", 0)))
    return token if now < token.until else None


def is_token(text: str) -> bool:
    """Say whether a key is meant as a token."""
    return text.startswith("eyJ") and text.count(".") == 2


def _signature(body: bytes, secret: bytes) -> bytes:
    return base64.urlsafe_b64encode(hmac.digest(secret, body, hashlib.sha256)).rstrip(b"=")
