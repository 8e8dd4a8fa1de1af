"""Interactions of which a sandbox has a copy: production answers them, so the copy's token opens nothing at Discord."""

from __future__ import annotations

import base64
import hmac
import re
from typing import Any, Final

import msgspec

from valhalla.kit.cellkey import CellKey

# Discord's own begin with base64 of "interaction:"
_FORM: Final = re.compile(r"valhalla-copy-([a-z0-9]{16})-([a-z2-7]{32})-[0-9]{1,20}")


def copied(cell: CellKey, sandbox: str, data: bytes) -> bytes | None:
    """Return an interaction with a token of the sandbox's own; None for what is none."""
    try:
        found: Any = msgspec.json.decode(data)
        number = int(found["id"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return None
    return msgspec.json.encode({**found, "token": f"valhalla-copy-{sandbox}-{_proof(cell, sandbox)}-{number}"})


def is_copy(token: str) -> bool:
    """Say whether a token was made here."""
    return token.startswith("valhalla-copy-")


def sandbox_of(cell: CellKey, token: str) -> str | None:
    """Return the sandbox that has the copy with this token, None if nobody has."""
    form = _FORM.fullmatch(token)
    if form is None or not hmac.compare_digest(form[2], _proof(cell, form[1])):
        return None
    return form[1]


def _proof(cell: CellKey, sandbox: str) -> str:
    return base64.b32encode(cell.derive("discord.copied-interaction", sandbox)[:20]).decode().lower()
