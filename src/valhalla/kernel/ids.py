"""Identifiers: 16 characters of ``[a-z0-9]``, random, never chosen by a user, never reused."""

from __future__ import annotations

import re
import secrets
from typing import Final, NewType

SandboxId = NewType("SandboxId", str)

ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
LENGTH: Final = 16
_ID = re.compile(rf"[a-z0-9]{{{LENGTH}}}")


def new_id() -> str:
    """Return a fresh random id (82 bits), starting with a letter so that it is a valid identifier anywhere."""
    # one draw of 128 bits for 82: what is left over makes the bias smaller than 2**-45
    drawn, first = divmod(int.from_bytes(secrets.token_bytes(16)), 26)
    text = ALPHABET[first]
    for _ in range(LENGTH - 1):
        drawn, digit = divmod(drawn, 36)
        text += ALPHABET[digit]
    return text


def is_id(text: str) -> bool:
    """Say whether ``text`` has the exact form of an id."""
    return _ID.fullmatch(text) is not None
