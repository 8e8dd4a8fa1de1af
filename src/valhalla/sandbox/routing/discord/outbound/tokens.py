"""The tokens of sandboxes' bots. They derive, so none is stored, and Discord would refuse each of them. Pure."""

from __future__ import annotations

import base64
import hmac
import re
from typing import Final

from valhalla.kit.cellkey import CellKey

_ID: Final = 16
# three parts, as Discord's own: clients that look at the form are content
_FORM: Final = re.compile(r"Bot (valhalla\.([a-z0-9]{16})\.[a-z2-7]{32})")


def bot_token(cell: CellKey, sandbox_id: str) -> str:
    """Return the token of a sandbox's bot: its id, and 160 bits that only this installation can make."""
    proof = base64.b32encode(cell.derive("discord.bot-token", sandbox_id)[:20]).decode().lower()
    return f"valhalla.{sandbox_id}.{proof}"


def sandbox_of(cell: CellKey, authorization: str | None) -> str | None:
    """Return the id of the sandbox whose token a header ``Authorization: Bot …`` holds, None if it is nobody's."""
    form = _FORM.fullmatch(authorization or "")
    if form is None:
        return None
    return form[2] if hmac.compare_digest(form[1], bot_token(cell, form[2])) else None
