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
    first = ALPHABET[secrets.randbelow(26)]
    return first + "".join(ALPHABET[secrets.randbelow(36)] for _ in range(LENGTH - 1))


def is_id(text: str) -> bool:
    """Say whether ``text`` has the exact form of an id."""
    return _ID.fullmatch(text) is not None
